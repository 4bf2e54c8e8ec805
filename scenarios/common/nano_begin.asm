; How every nano guest begins: the ports it knows, the header that a loader looks for, and
; a kernel with tables of its own.
%include "../common/ports.asm"
%include "../common/multiboot.asm"

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

