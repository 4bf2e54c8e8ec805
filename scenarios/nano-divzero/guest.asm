; nano-divzero: a program in ring 3 divides by zero, over and over.
;
; Two loops run in turn, the second with the operation and the first without it. The
; difference of what they cost, divided by the rounds, is the price of the operation.
; Labels that begin with marker_ say where each begins and ends.
;
; The CPU raises #DE, and the kernel's handler steps over the division and returns. With
; hardware assistance all of that happens within the guest. Without, the exception enters
; the VMM's ring 0; the VMM passes it on, and answers for the handler's IRET as well.
; This is one of the operations that Adams and Agesen measured in 2006.

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
FLAGS_FIXED     equ 1 << 1          ; EFLAGS: this bit is always 1

WARM_UP         equ 10              ; rounds that nobody measures: a translator has its work behind it
ROUNDS          equ 20              ; rounds between two markers
DIVISION_BYTES  equ 2               ; length of the instruction that faults

%include "../common/nano_begin.asm"
    mov ax, TASK                    ; the task register leads to the TSS, and the TSS holds
    ltr ax                          ; the stack that the CPU takes when it comes from ring 3

    ; Nothing here waits for hardware: silence it.
    mov al, 0xFF
    out PIC1_MASK, al
    out PIC2_MASK, al

    mov esi, text_welcome
    call print

    ; DS and ES become user data now and stay so in the kernel as well: both kinds of
    ; segment are flat, and a handler that loads no segments is a shorter one.
    mov ax, USER_DATA
    mov ds, ax
    mov es, ax

    ; There is no "go to ring 3". There is only "return to ring 3": build the frame
    ; that an interrupt from there would have left, and IRET through it.
    push dword USER_DATA            ; SS
    push dword user_stack_top       ; ESP
    push dword FLAGS_FIXED          ; EFLAGS: IF stays 0, nothing is to interrupt the loops
    push dword USER_CODE            ; CS: its low two bits say ring 3
    push dword user_program         ; EIP
    iretd

; #DE, vector 0. On the stack: EIP, CS, EFLAGS, ESP, SS of the program. A fault returns TO
; the instruction, so step over it first, or it would fault for ever.
divide_error:
    add dword [esp], DIVISION_BYTES
    inc ebx                         ; the program sees that it was here
    iretd

; INT 0x80, the program's last word. EBX: exceptions taken.
end_of_program:
    cld                             ; the program may have left DF in any state
    mov eax, ROUNDS
    call print_decimal
    mov esi, text_done
    call print

    cmp ebx, WARM_UP + ROUNDS
    jz .right
    mov al, 1
    jmp .tell
.right:
    mov al, 0
.tell:
    out EXIT_PORT, al
    jmp halt

%include "../common/panic.asm"
%include "../common/print.asm"
%include "../common/print_decimal.asm"
%include "../common/putc.asm"

; ---- User code (ring 3) -------------------------------------------------------------
align 4096
user_program:
    mov ebx, 0                      ; exceptions
    mov ebp, 0                      ; the divisor
    mov ecx, WARM_UP
    call empty_loop
    mov ecx, WARM_UP
    call operation_loop

    mov ecx, ROUNDS
.marker_empty:
    call empty_loop
.marker_empty_end:
    mov ecx, ROUNDS
.marker_operation:
    call operation_loop
.marker_operation_end:

    int 0x80                        ; the kernel tells how it went
.after_exit:
    jmp .after_exit

; The loop by itself, ECX rounds: what is left when the operation is taken out.
empty_loop:
    dec ecx
    jnz empty_loop
    ret

; The same loop with the operation, ECX rounds. The kernel counts in EBX.
operation_loop:
    div ebp
    dec ecx
    jnz operation_loop
    ret

; ---- Data: never on a page with code ------------------------------------------------
align 4096, db 0
text_welcome:
    db "Division by zero: ", 0
text_done:
    db " times to the handler and back.", 10, 0
text_panic:
    db "PANIC: an exception nobody expected.", 10, 0

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
    gate divide_error, INTERRUPT_GATE
%rep 31
    gate panic, INTERRUPT_GATE
%endrep
    times (0x80 - 32) dq 0          ; not present
    gate end_of_program, USER_GATE  ; the only gate that INT may use from ring 3
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
user_stack:
    resb 4096
user_stack_top:
memory_end:

