; divzero-and-friends: every exception that a program can raise by itself.
;
; When an instruction cannot go on, the CPU calls a routine of the kernel by number: the
; vector. It saves where it was, and for some vectors an error code that says more. For a
; fault the saved EIP points AT the instruction, so that it can be tried again; for a trap
; it points behind it. To a VMM exceptions are a nuisance: those that ring compression or
; shadow tables cause are its own affair, all others belong to the guest, and the guest
; must not be able to tell that somebody looked at them first.
;
; This kernel provokes them one by one, in ring 0 and where it matters in ring 3, reports
; each (name, vector in hexadecimal, error code, the ring and the place that were saved)
; and goes on behind the culprit. Not here:
;   #PF (0E)  needs paging: see paging-tour. Without it every technique can run this guest.
;   #AC (11)  unaligned data in ring 3, and #XM (13), SSE arithmetic: the emulated CPU,
;             like QEMU's, never raises either.
;   #DB (01)  by the breakpoint registers: on this machine they hold addresses but never
;             fire. INT1 (F1): QEMU takes it for a call of its own debugger.
;   NMI (02) and #MC (12) come from outside the CPU.

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
RING_1_CODE     equ 0x30 + 1
ABSENT_DATA     equ 0x38            ; ring 0 data, but marked not present
NO_SELECTOR     equ 0x0100          ; far behind the end of the GDT

INTERRUPT_GATE  equ 0x8E            ; present, for ring 0, 32 bits, clears IF on entry
USER_GATE       equ 0xEE            ; the same, but INT may use it from ring 3
ABSENT_GATE     equ 0x6E            ; the same, but not present
GATE_PRESENT    equ 1 << 7
GATE_ACCESS     equ 5               ; the byte of a gate that says so

KERNEL_VECTOR   equ 0x20            ; INT n: the gate is for ring 0 only,
ABSENT_VECTOR   equ 0x21            ; or not present,
RING_1_VECTOR   equ 0x22            ; or leads to a ring that has no stack
NOTHING         equ 0x80            ; "nothing has happened"
DONE            equ 0x81            ; "that was all"

FLAG_TF         equ 1 << 8          ; EFLAGS: #DB after every instruction
FLAG_IF         equ 1 << 9          ; EFLAGS: interrupts enabled
FLAGS_FIXED     equ 1 << 1          ; EFLAGS: this bit is always 1
CR0_PE          equ 1 << 0          ; protected mode
CR0_TS          equ 1 << 3          ; FPU instructions raise #NM
CR0_ET          equ 1 << 4          ; always 1 since the Pentium
CR0_NE          equ 1 << 5          ; FPU errors raise #MF
CR0_NORMAL      equ CR0_PE | CR0_ET | CR0_NE
DOUBLE_FAULT    equ 8
NO_ERROR_CODE   equ -1              ; what our handlers push where the CPU pushes none

%include "../common/ports.asm"
%include "../common/multiboot.asm"

; What follows is expected to raise an exception: what to call it, which instruction is
; the culprit, where to go on. Ring 3 may do this too: it is only memory.
%macro provoke 3
    mov dword [text_at], %1
    mov dword [culprit], %2
    mov dword [resume_at], %3
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
    mov eax, CR0_NORMAL
    mov cr0, eax
    fninit

    ; Ring 3 is to run with IF = 1, as programs do, so silence all hardware first.
    mov al, 0xFF
    out PIC1_MASK, al
    out PIC2_MASK, al

    mov esi, text_kernel
    call print

    provoke text_div, .div, .after_div
    mov eax, 1
    mov edx, 0
    mov ecx, 0
.div:
    div ecx
    int NOTHING
.after_div:

    provoke text_step, .step, .after_step
    pushfd
    or dword [esp], FLAG_TF         ; the handler clears TF again
    popfd                           ; POPF itself is not stepped over, the next one is
.step:
    nop
    int NOTHING
.after_step:

    provoke text_int3, .int3, .after_int3
.int3:
    int3
    int NOTHING
.after_int3:

    provoke text_into, .into, .after_into
    mov al, 127
    add al, 1                       ; a signed overflow: OF = 1
.into:
    into
    int NOTHING
.after_into:

    provoke text_bound, .bound, .after_bound
    mov eax, 10
.bound:
    bound eax, [bounds]             ; 0 to 9
    int NOTHING
.after_bound:

    provoke text_ud2, .ud2, .after_ud2
.ud2:
    ud2                             ; the one opcode that will stay undefined
    int NOTHING
.after_ud2:

    provoke text_fpu, .fpu, .after_fpu
    mov eax, CR0_NORMAL | CR0_TS    ; "the FPU still holds another task's numbers"
    mov cr0, eax
.fpu:
    fnop
    int NOTHING
.after_fpu:
    mov eax, CR0_NORMAL
    mov cr0, eax

    ; An exception while another one is being delivered. Without its gate #DE becomes #NP,
    ; and two of this kind in a row become #DF. Where the CPU was is not defined any more:
    ; a real system stops here. We know where we were.
    provoke text_double, .double, .after_double
    and byte [idt + GATE_ACCESS], ~GATE_PRESENT
    mov eax, 1
    mov edx, 0
    mov ecx, 0
.double:
    div ecx
    int NOTHING
.after_double:
    or byte [idt + GATE_ACCESS], GATE_PRESENT

    provoke text_absent, .absent, .after_absent
    mov ax, ABSENT_DATA
.absent:
    mov fs, ax                      ; error code: the selector at fault
    int NOTHING
.after_absent:

    provoke text_stack, .stack, .after_stack
    mov ax, ABSENT_DATA
.stack:
    mov ss, ax                      ; stacks have a vector of their own for that
    int NOTHING
.after_stack:

    provoke text_selector, .selector, .after_selector
    mov ax, NO_SELECTOR
.selector:
    mov fs, ax
    int NOTHING
.after_selector:

    ; An FPU error is remembered, and raised at the next FPU instruction that waits.
    provoke text_math, .math, .after_math
    fldcw [fpu_control]             ; division by zero is no longer masked
    fld1
    fldz
    fdivp
.math:
    fwait
    int NOTHING
.after_math:
    fninit

    ; DS and ES become user data now and stay so in the kernel as well: both kinds of
    ; segment are flat, and a handler that loads no segments has less to get wrong.
    mov ax, USER_DATA
    mov ds, ax
    mov es, ax

    ; There is no "go to ring 3". There is only "return to ring 3": build the frame
    ; that an interrupt from there would have left, and IRET through it.
    mov esi, text_program
    call print
    push dword USER_DATA            ; SS
    push dword user_stack_top       ; ESP
    push dword FLAG_IF | FLAGS_FIXED ; EFLAGS
    push dword USER_CODE            ; CS: its low two bits say ring 3
    push dword user_program         ; EIP
    iretd

; The entries of vectors 0 to 31: bring every frame to the same form. The CPU has pushed
; an error code for some of them, and nobody tells the handler which vector it was.
%macro entry 2                      ; vector, has the CPU pushed an error code?
entry_%1:
  %if %2 = 0
    push dword NO_ERROR_CODE
  %endif
    push dword %1
    jmp exception
%endmacro

%assign vector 0
%rep 32
  %if vector = 8 || (vector >= 10 && vector <= 14) || vector = 17
    entry vector, 1
  %else
    entry vector, 0
  %endif
  %assign vector vector + 1
%endrep

; On the stack: the vector, the error code, EIP, CS, EFLAGS, and from ring 3 ESP, SS.
exception:
    pushad                          ; 8 registers, 32 bytes: the vector is now above them
    cld                             ; the program may have left DF in any state
    inc dword [exceptions]
    mov esi, [text_at]
    call print

    mov ebx, [esp + 32]             ; the vector
    lea esi, [names + ebx * 4]      ; names are three letters and a zero
    call print
    mov al, ' '
    call putc
    mov eax, ebx
    mov ecx, 2
    call print_hex

    mov esi, text_error_code
    call print
    mov eax, [esp + 36]
    cmp eax, NO_ERROR_CODE
    je .no_error_code
    mov ecx, 4
    call print_hex
    jmp .ring
.no_error_code:
    mov esi, text_none
    call print

.ring:
    mov esi, text_ring
    call print
    mov eax, [esp + 44]             ; CS as saved
    and eax, 3
    mov ecx, 1
    call print_hex

    cmp ebx, DOUBLE_FAULT           ; an abort: the saved EIP means nothing
    je .resume
    mov eax, [esp + 40]             ; EIP as saved
    mov esi, text_at_it
    cmp eax, [culprit]
    je .where
    mov esi, text_behind_it
.where:
    call print
.resume:
    mov al, 10
    call putc

    mov eax, [resume_at]
    mov [esp + 40], eax
    and dword [esp + 48], ~FLAG_TF  ; EFLAGS as saved: no more single steps
    popad
    add esp, 8                      ; the vector and the error code
    iretd

; INT 0x80, instead of an exception. On the stack: EIP, CS, EFLAGS, ...
nothing:
    pushad
    cld
    mov esi, [text_at]
    call print
    mov esi, text_nothing
    call print
    popad
    iretd

; INT 0x81, the way out.
done:
    cld
    mov eax, [exceptions]
    call print_decimal
    mov esi, text_done
    call print
    mov eax, [exceptions]
    sub eax, EXPECTED               ; 0 if all of them came
    out EXIT_PORT, al
halt:                               ; only reached where there is no exit port
    hlt
    jmp halt

; Where the gate of INT 20h leads. Nobody gets here: ring 3 may not use the gate, and
; ring 0 does not try.
not_for_you:
    iretd

%include "../common/print.asm"
%include "../common/print_decimal.asm"
%include "../common/print_hex.asm"
%include "../common/putc.asm"

; ---- User code (ring 3) -------------------------------------------------------------
align 4096
user_program:
    provoke text_div, .div, .after_div
    mov eax, 1
    mov edx, 0
    mov ecx, 0
.div:
    div ecx
    int NOTHING
.after_div:

    provoke text_step, .step, .after_step
    pushfd
    or dword [esp], FLAG_TF         ; any ring may single-step itself
    popfd
.step:
    nop
    int NOTHING
.after_step:

    provoke text_int3, .int3, .after_int3
.int3:
    int3                            ; its gate is open to ring 3
    int NOTHING
.after_int3:

    provoke text_bound, .bound, .after_bound
    mov eax, -1
.bound:
    bound eax, [bounds]             ; its gate is not, but only INT is asked for the right
    int NOTHING
.after_bound:

    provoke text_ud2, .ud2, .after_ud2
.ud2:
    ud2
    int NOTHING
.after_ud2:

    provoke text_cli, .cli, .after_cli
.cli:
    cli                             ; privileged
    int NOTHING
.after_cli:

    ; Error codes of gates: the vector * 8, and bit 1 for "look in the IDT".
    provoke text_int_kernel, .int_kernel, .after_int_kernel
.int_kernel:
    int KERNEL_VECTOR
    int NOTHING
.after_int_kernel:

    provoke text_int_absent, .int_absent, .after_int_absent
.int_absent:
    int ABSENT_VECTOR
    int NOTHING
.after_int_absent:

    ; To enter ring 1 the CPU takes the stack of ring 1 from the TSS, and finds a selector
    ; there that does not fit. Had this been the stack of ring 0, the handler could not
    ; have been entered either, and nor could that of the double fault: the machine resets.
    provoke text_int_ring_1, .int_ring_1, .after_int_ring_1
.int_ring_1:
    int RING_1_VECTOR
    int NOTHING
.after_int_ring_1:

    int DONE
.after_exit:
    jmp .after_exit

; ---- Data: never on a page with code ------------------------------------------------
align 4096, db 0
exceptions:
    dd 0                            ; how many there were
text_at:
    dd 0
culprit:
    dd 0
resume_at:
    dd 0
bounds:
    dd 0, 9
fpu_control:
    dw 0x037F & ~(1 << 2)           ; as after FNINIT, less the mask of division by zero
EXPECTED        equ 12 + 9

names:
    db "#DE", 0, "#DB", 0, "NMI", 0, "#BP", 0, "#OF", 0, "#BR", 0, "#UD", 0, "#NM", 0
    db "#DF", 0, "#09", 0, "#TS", 0, "#NP", 0, "#SS", 0, "#GP", 0, "#PF", 0, "#15", 0
    db "#MF", 0, "#AC", 0, "#MC", 0, "#XM", 0, "#20", 0, "#21", 0, "#22", 0, "#23", 0
    db "#24", 0, "#25", 0, "#26", 0, "#27", 0, "#28", 0, "#29", 0, "#30", 0, "#31", 0

text_kernel:
    db "In the kernel", 10, 0
text_program:
    db "In a program", 10, 0
text_div:
    db "DIV by zero                 ", 0
text_step:
    db "NOP with TF set             ", 0
text_int3:
    db "INT3                        ", 0
text_into:
    db "INTO after an overflow      ", 0
text_bound:
    db "BOUND outside 0 to 9        ", 0
text_ud2:
    db "UD2                         ", 0
text_fpu:
    db "FNOP with CR0.TS set        ", 0
text_double:
    db "DIV by zero without a gate  ", 0
text_absent:
    db "FS: segment not present     ", 0
text_stack:
    db "SS: segment not present     ", 0
text_selector:
    db "FS: no such segment         ", 0
text_math:
    db "FWAIT after 1.0 / 0.0       ", 0
text_cli:
    db "CLI                         ", 0
text_int_kernel:
    db "INT 20h: a kernel's gate    ", 0
text_int_absent:
    db "INT 21h: gate not present   ", 0
text_int_ring_1:
    db "INT 22h: ring 1, bad stack  ", 0

text_error_code:
    db ", code ", 0
text_none:
    db "none", 0
text_ring:
    db ", ring ", 0
text_at_it:
    db ", EIP at it", 0
text_behind_it:
    db ", EIP behind it", 0
text_nothing:
    db "nothing happened", 10, 0
text_done:
    db " exceptions, and still here.", 10, 0
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
    dq 0x00CFBB000000FFFF           ; 0x30 ring 1 code
    dq 0x00CF13000000FFFF           ; 0x38 ring 0 data, not present
gdt_end:

; ---- Interrupt descriptor table -----------------------------------------------------
%macro gate 2-3 KERNEL_CODE         ; handler, type, code segment
    dw ADDR(%1) & 0xFFFF            ; offset 15:0
    dw %3                           ; most handlers run in ring 0
    db 0, %2
    dw ADDR(%1) >> 16               ; offset 31:16
%endmacro

align 4096, db 0
idt:
%assign vector 0
%rep 32
  %if vector = 3 || vector = 4
    gate entry_ %+ vector, USER_GATE ; INT3 and INTO are for everybody
  %else
    gate entry_ %+ vector, INTERRUPT_GATE
  %endif
  %assign vector vector + 1
%endrep
    gate not_for_you, INTERRUPT_GATE ; KERNEL_VECTOR
    gate not_for_you, ABSENT_GATE   ; ABSENT_VECTOR
    gate not_for_you, USER_GATE, RING_1_CODE ; RING_1_VECTOR
    times (NOTHING - RING_1_VECTOR - 1) dq 0 ; not present
    gate nothing, USER_GATE
    gate done, USER_GATE
idt_end:

; ---- Task state segment, on a page of its own ---------------------------------------
; The CPU reads the stacks here that it is to use when it comes to an inner ring.
align 4096, db 0
tss:
    dd 0                            ; previous task: unused
    dd kernel_stack_top             ; ESP0
    dd KERNEL_DATA                  ; SS0
    dd kernel_stack_top             ; ESP1
    dd KERNEL_DATA                  ; SS1: wrong, a stack of ring 1 needs RPL and DPL 1
    times 20 dd 0                   ; the rest is for task switches, which nobody uses
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

