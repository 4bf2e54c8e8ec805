; How every nano guest begins: the ports it knows, the header that a loader looks for, and
; a kernel with tables of its own.
COM1            equ 0x3F8           ; first serial port
COM1_LINE_STAT  equ COM1 + 5
STAT_ROOM       equ 0x20            ; line status: the transmitter can take a byte
PIC1_MASK       equ 0x21
PIC2_MASK       equ 0xA1
EXIT_PORT       equ 0xF4            ; value v ends the run with exit code (v << 1) | 1
EXIT_PANIC      equ 0x7F

; ---- Multiboot header: how the loader finds its way --------------------------------
align 4
multiboot_header:
    dd MULTIBOOT_MAGIC
    dd MULTIBOOT_FLAGS
    dd -(MULTIBOOT_MAGIC + MULTIBOOT_FLAGS) ; the three add up to 0
    dd multiboot_header             ; where this header belongs in memory
    dd BASE                         ; where the image begins
    dd image_end                    ; where it ends
    dd memory_end                   ; zeroed up to here
    dd start                        ; first instruction

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
