; nested-svm: a hypervisor that may be a guest itself.
;
; Three levels have names in this tour. L0 is whatever this kernel runs on: a bare CPU,
; or a hypervisor with a CPU beneath it. L1 is this kernel, a small hypervisor for AMD-V.
; L2 is its guest, a few instructions at the end of the code.
;
; L1 asks the CPU for AMD-V, switches it on, and describes L2 in a VMCB: its registers,
; and what is to take the CPU away from it. VMRUN then runs L2 until something of that
; happens: a #VMEXIT. L1 looks at EXITCODE, does what is needed, and runs L2 again.
; Nothing is printed meanwhile; L1 writes every exit down and tells of them at the end.
;
; Where L0 is a hypervisor, this kernel's VMRUN is one of the instructions that must not
; have their way: L0 intercepts it, and CLGI, VMLOAD, VMSAVE and STGI around it as well.
; Without AMD-V, or under a hypervisor that keeps it to itself, L1 says so and ends.

bits 32
BASE            equ 0x100000        ; 1 MiB: the first address above video memory and firmware
org BASE
%define ADDR(label) (label - $$ + BASE) ; a label as a plain number that can be cut into pieces

MULTIBOOT_MAGIC equ 0x1BADB002
MULTIBOOT_FLAGS equ 1 << 16         ; "the address fields below are valid"

KERNEL_CODE     equ 0x08            ; selectors: index in the GDT * 8 + the ring that asks
KERNEL_DATA     equ 0x10
INTERRUPT_GATE  equ 0x8E            ; present, for ring 0, 32 bits, clears IF on entry
CODE_ATTRIBUTES equ 0xC9B           ; as a VMCB has them: the descriptor's without its limit
DATA_ATTRIBUTES equ 0xC93
TASK_ATTRIBUTES equ 0x08B

CPUID_EXTENDED  equ 0x80000000      ; CPUID: the highest extended leaf
CPUID_SVM_BIT   equ 2               ; of ECX in leaf 8000_0001h
CPUID_SVM       equ 0x8000000A      ; what of SVM there is
EFER            equ 0xC0000080      ; model-specific registers
EFER_SVME       equ 1 << 12
VM_CR           equ 0xC0010114
VM_CR_SVMDIS    equ 1 << 4
VM_HSAVE_PA     equ 0xC0010117

; Control area of a VMCB
VMCB_EXCEPTIONS equ 0x008           ; one bit a vector
VMCB_MISC1      equ 0x00C
VMCB_MISC2      equ 0x010
VMCB_IO_MAP     equ 0x040           ; physical address of the I/O permission map
VMCB_TSC_OFFSET equ 0x050
VMCB_ASID       equ 0x058
VMCB_VINTR      equ 0x060           ; the virtual interrupt
VMCB_VECTOR     equ 0x064           ; and its vector
VMCB_SHADOW     equ 0x068           ; L2 is one instruction behind STI
VMCB_EXITCODE   equ 0x070
VMCB_INFO1      equ 0x078
VMCB_INFO2      equ 0x080
VMCB_EVENTINJ   equ 0x0A8
; and its state save area
VMCB_ES         equ 0x400           ; each: selector, attributes, limit, base
VMCB_CS         equ 0x410
VMCB_SS         equ 0x420
VMCB_DS         equ 0x430
VMCB_IDTR       equ 0x480
VMCB_TR         equ 0x490
VMCB_EFER       equ 0x4D0
VMCB_CR0        equ 0x558
VMCB_DR7        equ 0x560
VMCB_DR6        equ 0x568
VMCB_RFLAGS     equ 0x570
VMCB_RIP        equ 0x578
VMCB_RSP        equ 0x5D8
VMCB_RAX        equ 0x5F8

INTERCEPT_INTR  equ 1 << 0          ; first word of instructions and events
INTERCEPT_CPUID equ 1 << 18
INTERCEPT_HLT   equ 1 << 24
INTERCEPT_IO    equ 1 << 27
INTERCEPT_VMRUN equ 1 << 0          ; second word
INTERCEPT_VMMCALL equ 1 << 1

V_IRQ           equ 1 << 8
V_IGN_TPR       equ 1 << 20
V_INTR_MASKING  equ 1 << 24         ; L2's IF is its own affair: L1's lets real interrupts in
INJECT          equ 1 << 31         ; EVENTINJ: there is an event
TYPE_EXCEPTION  equ 3 << 8

EXIT_EXCP6      equ 0x046           ; exit codes
EXIT_INTR       equ 0x060
EXIT_CPUID      equ 0x072
EXIT_HLT        equ 0x078
EXIT_IO         equ 0x07B
EXIT_VMMCALL    equ 0x081

UD              equ 6
TIMER_VECTOR    equ 0x20            ; where L1 takes the real timer
HLT_VECTOR      equ 0x30            ; what wakes L2 from HLT
TICK_VECTOR     equ 0x31            ; L2's own timer
L2_PORT         equ 0x2F8           ; where L2 believes a serial port to be
CALL_TIME       equ 1               ; L2's hypercalls, in EAX
CALL_TIMER      equ 2
CALL_DONE       equ 3
AHEAD           equ 1 << 8          ; upper half of the TSC offset: L2's clock is 2^40 ahead
ADDRESS_SIZE    equ 7 << 7          ; in EXITINFO1 of IOIO; QEMU leaves it out, so it is not shown
NAME            equ "Hi!"           ; what L2 is told by CPUID

COM1            equ 0x3F8           ; first serial port
COM1_LINE_STAT  equ COM1 + 5
STAT_ROOM       equ 0x20            ; line status: the transmitter can take a byte
EXIT_PORT       equ 0xF4            ; value v ends the run with exit code (v << 1) | 1
EXIT_NO_SVM     equ 1
EXIT_PANIC      equ 0x7F

PIC1            equ 0x20            ; the first interrupt controller: commands
PIC1_MASK       equ 0x21
PIC2            equ 0xA0
PIC2_MASK       equ 0xA1
BEGIN           equ 0x11            ; "four bytes of initialization follow"
CASCADE         equ 1 << 2
MODE_8086       equ 1
END_OF_INTERRUPT equ 0x20
ALL_BUT_TIMER   equ 0xFE            ; mask: a 1 keeps a request from the CPU
ALL             equ 0xFF
TIMER           equ 0x40            ; the 8254's counter 0
TIMER_MODE      equ 0x43
ONCE            equ 0x30            ; counter 0, two bytes follow, mode 0
PERIOD          equ 2000            ; of 1.193182 MHz

MOST_EXITS      equ 16

%include "../common/multiboot.asm"

; ---- L1, the hypervisor -------------------------------------------------------------
start:
    mov esp, kernel_stack_top       ; the loader promises no stack
    cld                             ; LODSB is to walk upwards
    lgdt [gdt_pointer]
    jmp KERNEL_CODE:.reload         ; CS changes only by a far transfer
.reload:
    mov ax, KERNEL_DATA
    mov ds, ax
    mov es, ax
    mov ss, ax
    lidt [idt_pointer]
    call set_up_controllers
    mov esi, text_welcome
    call print

; -- Is there AMD-V, and may it be switched on? --
.marker_ask:
    mov eax, CPUID_EXTENDED
    cpuid
    cmp eax, CPUID_SVM
    jb no_svm
    mov eax, CPUID_EXTENDED + 1
    cpuid
    bt ecx, CPUID_SVM_BIT
    jnc no_svm
    mov ecx, VM_CR
    rdmsr
    test eax, VM_CR_SVMDIS
    jnz no_svm

    mov ecx, EFER
    rdmsr
    or eax, EFER_SVME
.marker_switch_on:
    wrmsr
    mov ecx, VM_HSAVE_PA            ; here VMRUN keeps L1 while L2 runs
    mov eax, host_save
    xor edx, edx
    wrmsr
    mov esi, text_on
    call print

; -- A VMCB that the CPU must refuse, to see that it looks --
    call describe_l2
    mov dword [vmcb + VMCB_ASID], 0 ; 0 is the host's
    mov eax, vmcb
.marker_refused:
    vmrun
    mov esi, text_refused
    call print
    mov eax, [vmcb + VMCB_EXITCODE]
    call print_hex8
    mov esi, text_end
    call print

; -- The real one --
    call describe_l2                ; anew: who knows what is left of one that was refused
    mov dword [vmcb + VMCB_ASID], 1
run:
    mov ebx, [l2_ebx]               ; all registers but EAX and ESP are for L1 to switch
    mov ecx, [l2_ecx]
    mov edx, [l2_edx]
    mov esi, [l2_esi]
    mov eax, vmcb
    clgi                            ; nothing may come between here and there
    sti                             ; but in L2 a real interrupt may: by way of an exit
    vmload                          ; FS, GS, TR and LDTR, which VMRUN leaves alone
.marker_vmrun:
    vmrun                           ; L2 runs, until something that L1 has asked for
.marker_exit:
    vmsave
    cli
    stgi
    mov [l2_ebx], ebx
    mov [l2_ecx], ecx
    mov [l2_edx], edx
    mov [l2_esi], esi
    mov edi, [exit_count]
    mov ebx, [vmcb + VMCB_EXITCODE]
    mov [exits + edi * 8], ebx
    mov edx, [vmcb + VMCB_INFO1]
    mov [exits + edi * 8 + 4], edx
    inc edi
    mov [exit_count], edi
    cmp edi, MOST_EXITS
    je panic
    mov esi, answers
.look:
    cmp dword [esi], 0
    je panic                        ; no such exit was asked for
    cmp [esi], ebx
    je .answer
    add esi, 12
    jmp .look
.answer:
    jmp [esi + 4]

; CPUID: tell L2 of a CPU of our own invention.
answer_cpuid:
    mov dword [vmcb + VMCB_RAX], 0
    mov dword [l2_ebx], NAME
    mov dword [l2_ecx], 0
    mov dword [l2_edx], 0
    add dword [vmcb + VMCB_RIP], 2  ; CPUID is done
    jmp run

; OUT to the port that L2 believes to be a serial port: keep the character.
answer_io:
    mov eax, [said_length]
    mov dl, [vmcb + VMCB_RAX]
    mov [said + eax], dl
    inc dword [said_length]
    mov eax, [vmcb + VMCB_INFO2]    ; the next instruction's address
    mov [vmcb + VMCB_RIP], eax
    jmp run

; An invalid opcode: that is for L2's own handler, so it goes back.
answer_ud:
    mov dword [vmcb + VMCB_EVENTINJ], INJECT | TYPE_EXCEPTION | UD
    jmp run

; HLT: L2 sleeps, and L1 wakes it at once with an interrupt.
answer_hlt:
    inc dword [vmcb + VMCB_RIP]
    mov dword [vmcb + VMCB_SHADOW], 0
    mov dword [vmcb + VMCB_EVENTINJ], INJECT | HLT_VECTOR ; type 0: an interrupt
    jmp run

; A real interrupt while L2 ran. It still waits; L1's own handler gets it now.
answer_intr:
    sti
    nop                             ; here it comes
    cli
    or dword [vmcb + VMCB_VINTR], V_IRQ ; and L2's own timer has ticked, too
    mov byte [vmcb + VMCB_VECTOR], TICK_VECTOR
    jmp run

; A hypercall of L2's.
answer_vmmcall:
    add dword [vmcb + VMCB_RIP], 3
    mov eax, [vmcb + VMCB_RAX]
    cmp eax, CALL_TIMER
    je .timer
    cmp eax, CALL_DONE
    je report
    mov ecx, [l2_ecx]
    mov [l2_time], ecx
    jmp run
.timer:
    call start_timer
    jmp run

; -- What has happened --
report:
    mov eax, [exit_count]
    call print_decimal
    mov esi, text_exits
    call print
    xor ebp, ebp
.one:
    mov esi, text_exit
    call print
    mov eax, [exits + ebp * 8]
    call print_hex3
    mov ebx, answers
.find:
    mov ecx, [exits + ebp * 8]
    cmp [ebx], ecx
    je .found
    add ebx, 12
    jmp .find
.found:
    mov esi, [ebx + 8]
    call print
    mov eax, [exits + ebp * 8 + 4]
    and eax, ~ADDRESS_SIZE
    call print_hex8
    mov al, 10
    call putc
    inc ebp
    cmp ebp, [exit_count]
    jb .one

    mov esi, text_said
    call print
    mov esi, said
    call print
    mov esi, text_count
    call print
    mov eax, [l2_undefined]
    call print_digit
    mov eax, [l2_woken]
    call print_digit
    mov eax, [l2_ticks]
    call print_digit
    mov eax, [ticks]
    call print_digit
    mov esi, text_time
    call print
    mov eax, [l2_time]              ; the upper half of its clock
    shr eax, 8
    call print_digit
    mov al, 10
    call putc

    mov eax, [exit_count]
    sub eax, 10                     ; 0 if there were ten exits, no more and no less
.marker_told:
    out EXIT_PORT, al
    jmp halt

no_svm:
    mov esi, text_no_svm
    call print
    mov al, EXIT_NO_SVM
    out EXIT_PORT, al
    jmp halt

; Any exception that this kernel did not plan for, and any exit that is wrong.
panic:
    mov esi, text_panic
    call print
    mov al, EXIT_PANIC
    out EXIT_PORT, al
halt:                               ; only reached where there is no exit port
    cli
    hlt
    jmp halt

; The real timer's interrupt, in L1.
tick:
    push eax
    inc dword [ticks]
    mov al, END_OF_INTERRUPT
    out PIC1, al
    pop eax
    iretd

; Describe L2 in its VMCB. The page is zero, so only what is not zero has to be said.
describe_l2:
    mov dword [vmcb + VMCB_EXCEPTIONS], 1 << UD
    mov dword [vmcb + VMCB_MISC1], INTERCEPT_INTR | INTERCEPT_CPUID | INTERCEPT_HLT | INTERCEPT_IO
    mov dword [vmcb + VMCB_MISC2], INTERCEPT_VMRUN | INTERCEPT_VMMCALL
    mov dword [vmcb + VMCB_IO_MAP], io_map
    mov byte [io_map + L2_PORT / 8], 1 << (L2_PORT % 8)
    mov dword [vmcb + VMCB_TSC_OFFSET + 4], AHEAD
    mov dword [vmcb + VMCB_VINTR], V_INTR_MASKING | V_IGN_TPR
    mov eax, vmcb + VMCB_ES
    mov ecx, KERNEL_DATA | DATA_ATTRIBUTES << 16
    call describe_segment
    mov eax, vmcb + VMCB_SS
    call describe_segment
    mov eax, vmcb + VMCB_DS
    call describe_segment
    mov eax, vmcb + VMCB_CS
    mov ecx, KERNEL_CODE | CODE_ATTRIBUTES << 16
    call describe_segment
    mov eax, vmcb + VMCB_TR
    mov ecx, TASK_ATTRIBUTES << 16
    call describe_segment
    mov word [vmcb + VMCB_IDTR + 4], idt_end - idt - 1
    mov dword [vmcb + VMCB_IDTR + 8], l2_idt
    mov word [vmcb + 0x464], gdt_end - gdt - 1 ; GDTR: L2 has L1's, whose segments suit it
    mov dword [vmcb + 0x468], gdt
    mov dword [vmcb + VMCB_EFER], EFER_SVME ; VMRUN insists, though L2 has no use for it
    mov eax, cr0
    mov [vmcb + VMCB_CR0], eax
    mov dword [vmcb + VMCB_DR7], 0x400
    mov dword [vmcb + VMCB_DR6], 0xFFFF0FF0
    mov dword [vmcb + VMCB_RFLAGS], 2
    mov dword [vmcb + VMCB_RIP], l2
    mov dword [vmcb + VMCB_RSP], l2_stack_top
    ret

; A segment of 4 GiB at EAX in the VMCB: selector and attributes in ECX.
describe_segment:
    mov [eax], ecx
    mov dword [eax + 4], 0xFFFFFFFF
    ret

; Both controllers: vectors from 20h on, nothing lets through but the timer. Changes EAX.
set_up_controllers:
    mov al, BEGIN
    out PIC1, al
    out PIC2, al
    mov al, TIMER_VECTOR
    out PIC1_MASK, al
    mov al, TIMER_VECTOR + 8
    out PIC2_MASK, al
    mov al, CASCADE
    out PIC1_MASK, al
    mov al, 2
    out PIC2_MASK, al
    mov al, MODE_8086
    out PIC1_MASK, al
    out PIC2_MASK, al
    mov al, ALL
    out PIC1_MASK, al
    out PIC2_MASK, al
    ret

; Let the timer ask once, and let it be heard. Changes EAX.
start_timer:
    mov al, ONCE
    out TIMER_MODE, al
    mov al, PERIOD & 0xFF
    out TIMER, al
    mov al, PERIOD >> 8
    out TIMER, al
    mov al, ALL_BUT_TIMER
    out PIC1_MASK, al
    ret

; Print a space and the digit in EAX.
print_digit:
    push eax
    mov al, ' '
    call putc
    pop eax
print_decimal_digit:
    add al, '0'
    jmp putc

; Print EAX, below 100, in decimal. Changes EAX and EDX.
print_decimal:
    aam                             ; AH = tens, AL = units
    mov dl, al
    mov al, ah
    test al, al
    jz .units
    call print_decimal_digit
.units:
    mov al, dl
    jmp print_decimal_digit

; Print EAX in 8 hexadecimal digits, or its lowest 3. Changes EAX, ECX and EDX.
print_hex8:
    mov ecx, 8
    jmp print_hex
print_hex3:
    shl eax, 20
    mov ecx, 3
print_hex:
    mov edx, eax
.digit:
    rol edx, 4
    mov al, dl
    and al, 0xF
    cmp al, 10
    jb .put
    add al, 'A' - '0' - 10
.put:
    add al, '0'
    call putc
    loop .digit
    ret

%include "../common/print.asm"
%include "../common/putc.asm"

; ---- L2, the guest -------------------------------------------------------------------
l2:
    xor eax, eax
.marker_cpuid:
    cpuid                           ; exits: L1 answers in the CPU's place
    mov edx, L2_PORT
.say:
    mov al, bl
.marker_out:
    out dx, al                      ; exits: L1 keeps the character
    shr ebx, 8
    jnz .say
.marker_undefined:
    ud2                             ; exits: L1 hands it back to the handler below
    rdtsc                           ; does not exit; the CPU adds L1's offset
    mov ecx, edx
    mov eax, CALL_TIME
.marker_call:
    vmmcall                         ; exits: how a guest calls its hypervisor
    sti
.marker_hlt:
    hlt                             ; exits: L1 injects what wakes it
    mov eax, CALL_TIMER
    vmmcall
.wait:
    cmp dword [l2_ticks], 0         ; innocuous: L2 runs on the CPU itself
    je .wait                        ; until the real timer takes the CPU away from it
    mov eax, CALL_DONE
.marker_done:
    vmmcall
    jmp panic                       ; L1 does not come back

l2_bad_opcode:                      ; #UD, in L2: pass over UD2
    inc dword [l2_undefined]
    add dword [esp], 2
    iretd
l2_wake:
    inc dword [l2_woken]
    iretd
l2_tick:
    inc dword [l2_ticks]
    iretd

; ---- Data: never on a page with code ------------------------------------------------
align 4096, db 0
answers:                            ; exit code, what to do, how it is called
    dd EXIT_CPUID, answer_cpuid, text_cpuid
    dd EXIT_IO, answer_io, text_io
    dd EXIT_EXCP6, answer_ud, text_ud
    dd EXIT_HLT, answer_hlt, text_hlt
    dd EXIT_INTR, answer_intr, text_intr
    dd EXIT_VMMCALL, answer_vmmcall, text_vmmcall
    dd 0
ticks:
    dd 0
l2_undefined:
    dd 0
l2_woken:
    dd 0
l2_ticks:
    dd 0
l2_time:
    dd 0
said_length:
    dd 0
said:
    times 16 db 0
exit_count:
    dd 0
l2_ebx:
    dd 0
l2_ecx:
    dd 0
l2_edx:
    dd 0
l2_esi:
    dd 0
exits:
    times MOST_EXITS dq 0

text_welcome:
    db "I am a hypervisor. Is there AMD-V for me?", 10, 0
text_no_svm:
    db "No SVM here: I can run no guest of my own.", 10, 0
text_on:
    db "There is, and it is on.", 10, 0
text_refused:
    db "A guest with ASID 0 is refused: exit code ", 0
text_end:
    db "h.", 10, 0
text_exits:
    db " exits of my guest:", 10, 0
text_exit:
    db "  ", 0
text_cpuid:
    db "h CPUID    ", 0
text_io:
    db "h IOIO     ", 0
text_ud:
    db "h #UD      ", 0
text_hlt:
    db "h HLT      ", 0
text_intr:
    db "h INTR     ", 0
text_vmmcall:
    db "h VMMCALL  ", 0
text_said:
    db "It said: ", 0
text_count:
    db 10, "Its invalid opcodes, wakings and ticks, and my own ticks:", 0
text_time:
    db 10, "Its clock is ahead of mine, in units of 2^40 ticks:", 0
text_panic:
    db "PANIC: an exception or an exit that was not asked for.", 10, 0

align 4
gdt_pointer:
    dw gdt_end - gdt - 1            ; limit: the last valid byte
    dd gdt
    dw 0                            ; keeps the next one aligned
idt_pointer:
    dw idt_end - idt - 1
    dd idt

; ---- Global descriptor table, on a page of its own ----------------------------------
align 4096, db 0
gdt:
    dq 0                            ; selector 0 is never valid
    dq 0x00CF9B000000FFFF           ; 0x08 ring 0 code: base 0, 4 GiB, execute/read
    dq 0x00CF93000000FFFF           ; 0x10 ring 0 data: base 0, 4 GiB, read/write
gdt_end:

; ---- Interrupt descriptor tables: L1's and L2's ---------------------------------------
%macro gate 1                       ; handler
    dw ADDR(%1) & 0xFFFF            ; offset 15:0
    dw KERNEL_CODE                  ; handlers run in ring 0
    db 0, INTERRUPT_GATE
    dw ADDR(%1) >> 16               ; offset 31:16
%endmacro

align 4096, db 0
idt:
%rep TIMER_VECTOR
    gate panic
%endrep
    gate tick
%rep TICK_VECTOR - TIMER_VECTOR
    gate panic
%endrep
idt_end:
align 4096, db 0
l2_idt:
%rep UD
    gate panic
%endrep
    gate l2_bad_opcode
%rep HLT_VECTOR - UD - 1
    gate panic
%endrep
    gate l2_wake
    gate l2_tick
image_end:

; ---- Memory that needs no place in the file -----------------------------------------
section .bss nobits align=4096
vmcb:                               ; one page, aligned: VMRUN insists
    resb 4096
host_save:                          ; the CPU's own
    resb 4096
io_map:                             ; a bit a port
    resb 3 * 4096
    resb 4096
l2_stack_top:
    resb 4096
kernel_stack_top:
memory_end:

