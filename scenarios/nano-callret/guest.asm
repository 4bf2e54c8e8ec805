; nano-callret: the kernel calls a routine that returns at once, over and over.
;
; Two loops run in turn, the second with the operation and the first without it. The
; difference of what they cost, divided by the rounds, is the price of the operation.
; Labels that begin with marker_ say where each begins and ends.
;
; Nothing here is privileged or sensitive, so hardware assistance costs nothing at all. A
; translator must not let a RET go where the stack says: the return address there is one
; of the guest's, where no translation lies. Every return is looked up in a table instead.
; This is one of the operations that Adams and Agesen measured in 2006.

bits 32
BASE            equ 0x100000        ; 1 MiB: the first address above video memory and firmware
org BASE
%define ADDR(label) (label - $$ + BASE) ; a label as a plain number that can be cut into pieces

MULTIBOOT_MAGIC equ 0x1BADB002
MULTIBOOT_FLAGS equ 1 << 16         ; "the address fields below are valid"

KERNEL_CODE     equ 0x08            ; selectors: index in the GDT * 8 + the ring that asks
KERNEL_DATA     equ 0x10

INTERRUPT_GATE  equ 0x8E            ; present, for ring 0, 32 bits, clears IF on entry

WARM_UP         equ 10              ; rounds that nobody measures: a translator has its work behind it
ROUNDS          equ 20              ; rounds between two markers

%include "../common/nano_begin.asm"

    ; Nothing here waits for hardware: silence it.
    mov al, 0xFF
    out PIC1_MASK, al
    out PIC2_MASK, al

    mov esi, text_welcome
    call print

    ; Once for practice. A translator translates what it has not seen yet, and what keeps
    ; trapping it translates anew: that is over before anybody counts.
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

    mov eax, ROUNDS
    call print_decimal
    mov esi, text_done
    call print

    mov al, 0
.tell:
    out EXIT_PORT, al
    jmp halt

; The loop by itself, ECX rounds: what is left when the operation is taken out.
empty_loop:
    dec ecx
    jnz empty_loop
    ret

; The same loop with the operation, ECX rounds.
operation_loop:
    call nothing
    dec ecx
    jnz operation_loop
    ret

nothing:
    ret

%include "../common/panic.asm"
%include "../common/print.asm"
%include "../common/print_decimal.asm"
%include "../common/putc.asm"

; ---- Data: never on a page with code ------------------------------------------------
align 4096, db 0
text_welcome:
    db "CALL and RET: ", 0
text_done:
    db " times there and back.", 10, 0
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
%rep 32
    gate panic, INTERRUPT_GATE
%endrep
idt_end:
image_end:

; ---- Memory that needs no place in the file -----------------------------------------
section .bss nobits align=4096
    resb 4096
kernel_stack_top:
memory_end:

