; msr-and-cr: the registers that only a kernel may touch.
;
; Control registers decide what mode the CPU is in, debug registers where it is to stop,
; model-specific registers (MSRs) all the rest. Every kernel writes them, and a VMM must
; give each virtual machine a set of its own that behaves like the real one: bits that
; cannot be set stay clear, fixed bits stay set, forbidden values raise #GP.
;
; Nearly all of these instructions trap outside ring 0, so ring compression gets them
; right. Look for the one that does not: SMSW reads CR0 as well.

bits 32
BASE            equ 0x100000        ; 1 MiB: the first address above video memory and firmware
org BASE
%define ADDR(label) (label - $$ + BASE) ; a label as a plain number that can be cut into pieces

MULTIBOOT_MAGIC equ 0x1BADB002
MULTIBOOT_FLAGS equ 1 << 16         ; "the address fields below are valid"

KERNEL_CODE     equ 0x08            ; selectors: index in the GDT * 8 + the ring that asks
KERNEL_DATA     equ 0x10
USER_CODE       equ 0x18 + 3
USER_DATA       equ 0x20 + 3
TASK            equ 0x28

INTERRUPT_GATE  equ 0x8E            ; present, for ring 0, 32 bits, clears IF on entry
USER_GATE       equ 0xEE            ; the same, but INT may use it from ring 3
NEXT            equ 0x80            ; the program's calls: "print, and lock the clock up"
DONE            equ 0x81            ; and "print, that was all"
FLAG_IF         equ 1 << 9          ; EFLAGS: interrupts enabled
FLAGS_FIXED     equ 1 << 1          ; EFLAGS: this bit is always 1

CR0_PE          equ 1 << 0          ; protected mode
CR0_MP          equ 1 << 1          ; WAIT obeys TS
CR0_EM          equ 1 << 2          ; there is no FPU: its instructions raise #NM
CR0_TS          equ 1 << 3          ; task switched: FPU instructions raise #NM
CR0_ET          equ 1 << 4          ; always 1 since the Pentium
CR0_NW          equ 1 << 29         ; caching: not write-through; means nothing without CD
CR4_TSD         equ 1 << 2          ; time-stamp counter for ring 0 only
CR4_DE          equ 1 << 3          ; DR4 and DR5 raise #UD
CR4_PSE         equ 1 << 4          ; 4 MiB pages
CR0_NORMAL      equ CR0_PE | CR0_ET

SYSENTER_CS     equ 0x174           ; three MSRs that every x86 since the Pentium II has
SYSENTER_ESP    equ 0x175
SYSENTER_EIP    equ 0x176
NO_SUCH_MSR     equ 0xDEAD

NOTHING         equ 0               ; what the handlers below have caught
CAUGHT_UD       equ 1
CAUGHT_GP       equ 2

%include "../common/ports.asm"
%include "../common/multiboot.asm"

; The next instruction may fault: if it does, go on at a label.
%macro attempt 1
    mov dword [resume_at], %1
    mov dword [caught], NOTHING
%endmacro

; Print a text and the value in EAX.
%macro show 1
    mov edx, eax
    mov esi, %1
    call print_value
%endmacro

; Print a text and whether the last attempt was caught.
%macro show_caught 1
    mov esi, %1
    call print_caught
%endmacro

; ---- Kernel code (ring 0) -----------------------------------------------------------
start:
    mov esp, kernel_stack_top       ; the loader promises no stack
    cld                             ; LODSB is to walk upwards

    ; The loader's segments work, but nobody says where their table is: bring our own.
    lgdt [gdt_pointer]
    jmp KERNEL_CODE:.reload         ; CS changes only by a far transfer
.reload:
    mov ax, KERNEL_DATA
    mov ds, ax
    mov es, ax
    mov ss, ax
    lidt [idt_pointer]
    mov ax, TASK                    ; the task register leads to the TSS, and the TSS holds
    ltr ax                          ; the stack that the CPU takes when it comes from ring 3

    ; Ring 3 is to run with IF = 1, as programs do, so silence all hardware first.
    mov al, 0xFF
    out PIC1_MASK, al
    out PIC2_MASK, al

; -- CR0 --
    mov eax, CR0_NORMAL
    mov cr0, eax
    mov eax, cr0
    show text_cr0

    mov eax, CR0_NORMAL | CR0_TS
    mov cr0, eax
    mov eax, cr0
    show text_cr0_ts

    clts                            ; the only instruction made for a single bit of CR0
    mov eax, cr0
    show text_clts

    mov ax, CR0_MP | CR0_EM | CR0_TS ; PE is 0 here: LMSW can enter protected mode, not leave
    lmsw ax
    mov eax, cr0
    show text_lmsw

    mov eax, 0
    smsw ax                         ; the low half of CR0, in any ring, without a trap
    show text_smsw

    mov eax, CR0_NORMAL
    mov cr0, eax
    attempt .after_nw
    mov eax, CR0_NORMAL | CR0_NW
    mov cr0, eax
.after_nw:
    show_caught text_nw
    mov eax, CR0_NORMAL             ; in case it went through
    mov cr0, eax

; -- CR1 to CR4. Paging is off, so CR2 and CR3 are just registers --
    attempt .after_cr1
    mov eax, cr1
.after_cr1:
    show_caught text_cr1

    mov eax, 0x12345678
    mov cr2, eax
    mov eax, 0
    mov eax, cr2
    show text_cr2

    mov eax, 0x00ABC000
    mov cr3, eax
    mov eax, 0
    mov eax, cr3
    show text_cr3
    mov eax, 0
    mov cr3, eax

    mov eax, CR4_TSD | CR4_DE | CR4_PSE
    mov cr4, eax
    mov eax, cr4
    show text_cr4

; -- Debug registers. DR4 and DR5 are other names of DR6 and DR7, unless DE is set --
    mov eax, CR4_DE
    mov cr4, eax
    attempt .after_dr4
    mov eax, dr4
.after_dr4:
    show_caught text_dr4_de
    mov eax, 0
    mov cr4, eax
    mov eax, cr4
    show text_cr4_clear

    mov eax, 0x1111
    mov dr0, eax
    mov eax, 0x2222
    mov dr1, eax
    mov eax, 0x3333
    mov dr2, eax
    mov eax, 0x4444
    mov dr3, eax
    mov eax, dr0
    mov ebx, dr1
    add eax, ebx
    mov ebx, dr2
    add eax, ebx
    mov ebx, dr3
    add eax, ebx
    show text_dr03

    mov eax, 0
    mov dr6, eax                    ; most bits of DR6 are fixed
    mov eax, dr6
    show text_dr6
    mov eax, dr4
    show text_dr4

    mov eax, 0
    mov dr7, eax                    ; bit 10 is
    mov eax, dr7
    show text_dr7

; -- Model-specific registers: number in ECX, value in EDX:EAX --
    mov ecx, SYSENTER_CS
    mov eax, KERNEL_CODE
    call write_and_read_msr
    show text_sysenter_cs
    mov ecx, SYSENTER_ESP
    mov eax, kernel_stack_top
    call write_and_read_msr
    show text_sysenter_esp
    mov ecx, SYSENTER_EIP
    mov eax, 0x00C0FFEE             ; nobody will use it
    call write_and_read_msr
    show text_sysenter_eip

    attempt .after_rdmsr
    mov ecx, NO_SUCH_MSR
    rdmsr
.after_rdmsr:
    show_caught text_rdmsr
    attempt .after_wrmsr
    mov ecx, NO_SUCH_MSR
    mov eax, 0
    mov edx, 0
    wrmsr
.after_wrmsr:
    show_caught text_wrmsr

; -- The clock. What it says is not printed: no two runs of real machines agree on it --
    mov eax, CR4_TSD
    mov cr4, eax
    attempt .after_rdtsc
    rdtsc
.after_rdtsc:
    show_caught text_rdtsc_0
    mov eax, 0
    mov cr4, eax

    ; DS and ES become user data now and stay so in the kernel as well: both kinds of
    ; segment are flat, and a handler that loads no segments is a shorter one.
    mov ax, USER_DATA
    mov ds, ax
    mov es, ax

    ; There is no "go to ring 3". There is only "return to ring 3": build the frame
    ; that an interrupt from there would have left, and IRET through it.
    push dword USER_DATA            ; SS
    push dword user_stack_top       ; ESP
    push dword FLAG_IF | FLAGS_FIXED ; EFLAGS
    push dword USER_CODE            ; CS: its low two bits say ring 3
    push dword user_program         ; EIP
    iretd

; INT 0x80: the program has read the clock. From now on it may not.
system_call_next:
    show_caught text_rdtsc_3
    mov eax, CR4_TSD
    mov cr4, eax
    iretd

; INT 0x81: it has tried again.
system_call_done:
    show_caught text_rdtsc_tsd
    mov al, 0                       ; this guest does not judge, it only reports
    out EXIT_PORT, al
    jmp halt

; #UD, vector 6, and #GP, vector 13: note it, and go on where the attempt said.
; On the stack: for #GP an error code, then EIP, CS, EFLAGS.
invalid_opcode:
    mov dword [caught], CAUGHT_UD
    jmp resume
general_protection:
    add esp, 4                      ; IRET expects the error code gone
    mov dword [caught], CAUGHT_GP
resume:
    push eax
    mov eax, [resume_at]
    mov [esp + 4], eax
    pop eax
    iretd

; Write EAX to the MSR in ECX and read it back into EAX.
write_and_read_msr:
    mov edx, 0
    wrmsr
    mov eax, 0
    rdmsr
    ret

; Print the text at ESI and the value in EDX.
print_value:
    call print
    mov eax, edx
    mov ecx, 8
    call print_hex
    jmp new_line

; Print the text at ESI and what was caught.
print_caught:
    call print
    mov eax, [caught]
    mov esi, [caught_words + eax * 4]
    call print
new_line:
    mov al, 10
    jmp putc

%include "../common/panic.asm"
%include "../common/print.asm"
%include "../common/print_hex.asm"
%include "../common/putc.asm"

; ---- User code (ring 3) -------------------------------------------------------------
align 4096
user_program:
    attempt .after_rdtsc
    rdtsc
.after_rdtsc:
    int NEXT
    attempt .after_locked
    rdtsc
.after_locked:
    int DONE
.after_exit:
    jmp .after_exit

; ---- Data: never on a page with code ------------------------------------------------
align 4096, db 0
resume_at:
    dd 0
caught:
    dd NOTHING
caught_words:
    dd word_nothing, word_ud, word_gp

word_nothing:   db "went through", 0
word_ud:        db "#UD", 0
word_gp:        db "#GP", 0

text_cr0:
    db "CR0  PE and ET                  ", 0
text_cr0_ts:
    db "CR0  TS set by MOV              ", 0
text_clts:
    db "CR0  after CLTS                 ", 0
text_lmsw:
    db "CR0  after LMSW of 000E         ", 0
text_smsw:
    db "SMSW the same, low half         ", 0
text_nw:
    db "CR0  NW without CD              ", 0
text_cr1:
    db "CR1  does not exist             ", 0
text_cr2:
    db "CR2                             ", 0
text_cr3:
    db "CR3                             ", 0
text_cr4:
    db "CR4  TSD, DE and PSE            ", 0
text_dr4_de:
    db "DR4  with CR4.DE                ", 0
text_cr4_clear:
    db "CR4  all clear                  ", 0
text_dr03:
    db "DR0 + DR1 + DR2 + DR3           ", 0
text_dr6:
    db "DR6  after writing 0            ", 0
text_dr4:
    db "DR4  without CR4.DE is DR6      ", 0
text_dr7:
    db "DR7  after writing 0            ", 0
text_sysenter_cs:
    db "MSR  174, SYSENTER_CS           ", 0
text_sysenter_esp:
    db "MSR  175, SYSENTER_ESP          ", 0
text_sysenter_eip:
    db "MSR  176, SYSENTER_EIP          ", 0
text_rdmsr:
    db "MSR  DEAD read                  ", 0
text_wrmsr:
    db "MSR  DEAD written               ", 0
text_rdtsc_0:
    db "RDTSC in ring 0 with CR4.TSD    ", 0
text_rdtsc_3:
    db "RDTSC in ring 3                 ", 0
text_rdtsc_tsd:
    db "RDTSC in ring 3 with CR4.TSD    ", 0
text_panic:
    db "PANIC: an exception nobody expected.", 10, 0
hex_digits:
    db "0123456789ABCDEF"

align 4
gdt_pointer:
    dw gdt_end - gdt - 1            ; limit: the last valid byte
    dd gdt
    dw 0                            ; keeps the next one aligned
idt_pointer:
    dw idt_end - idt - 1
    dd idt

; ---- Global descriptor table, on a page of its own ----------------------------------
; A VMM that keeps a shadow of this table must notice every write to it, and it can
; only watch whole pages. For the same reason the Accessed bit (bit 0 of the type) is
; already set: the CPU would otherwise write it here on the first load of a segment.
align 4096, db 0
gdt:
    dq 0                            ; selector 0 is never valid
    dq 0x00CF9B000000FFFF           ; 0x08 ring 0 code: base 0, 4 GiB, execute/read
    dq 0x00CF93000000FFFF           ; 0x10 ring 0 data: base 0, 4 GiB, read/write
    dq 0x00CFFB000000FFFF           ; 0x18 ring 3 code
    dq 0x00CFF3000000FFFF           ; 0x20 ring 3 data
    dw tss_end - tss - 1            ; 0x28 the TSS: limit 15:0
    dw ADDR(tss) & 0xFFFF           ;      base 15:0
    db (ADDR(tss) >> 16) & 0xFF     ;      base 23:16
    db 0x89                         ;      present, ring 0, 32-bit TSS, not busy
    db 0                            ;      limit 19:16, counted in bytes
    db ADDR(tss) >> 24              ;      base 31:24
gdt_end:

; ---- Interrupt descriptor table -----------------------------------------------------
%macro gate 2                       ; handler, type
    dw ADDR(%1) & 0xFFFF            ; offset 15:0
    dw KERNEL_CODE                  ; handlers run in ring 0
    db 0, %2
    dw ADDR(%1) >> 16               ; offset 31:16
%endmacro

align 4096, db 0
idt:
%rep 6
    gate panic, INTERRUPT_GATE
%endrep
    gate invalid_opcode, INTERRUPT_GATE
%rep 6
    gate panic, INTERRUPT_GATE
%endrep
    gate general_protection, INTERRUPT_GATE
%rep 18
    gate panic, INTERRUPT_GATE
%endrep
    times (NEXT - 32) dq 0          ; not present
    gate system_call_next, USER_GATE ; the only gates that INT may use from ring 3
    gate system_call_done, USER_GATE
idt_end:

; ---- Task state segment, on a page of its own ---------------------------------------
; The CPU reads one thing here: the stack to use when it comes from ring 3 to ring 0.
align 4096, db 0
tss:
    dd 0                            ; previous task: unused
    dd kernel_stack_top             ; ESP0
    dd KERNEL_DATA                  ; SS0
    times 22 dd 0                   ; the rest is for task switches, which nobody uses
    dw 0
    dw tss_end - tss                ; I/O bitmap behind the limit: ring 3 gets no ports
tss_end:
image_end:

; ---- Memory that needs no place in the file -----------------------------------------
section .bss nobits align=4096
    resb 4096
kernel_stack_top:
    resb 4096
user_stack_top:
memory_end:

