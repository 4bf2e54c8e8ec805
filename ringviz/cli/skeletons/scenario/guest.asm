; A kernel of your own: alone in ring 0 it prints a line, looks at its flags, and ends the run.
;
; Change it, assemble it with `ringviz build FOLDER`, and open it with `ringviz run FOLDER`. A label that begins with
; `.marker_` is a place that lessons, replays and `:` in the app can go to by name.

bits 32
BASE            equ 0x100000            ; 1 MiB: where the loader puts the image
org BASE

MULTIBOOT_MAGIC equ 0x1BADB002
MULTIBOOT_FLAGS equ 1 << 16             ; "the address fields below are valid"
KERNEL_CODE     equ 0x08                ; selectors: index in the GDT * 8
KERNEL_DATA     equ 0x10
COM1            equ 0x3F8               ; the serial port; what is sent there is the console
COM1_LINE_STAT  equ COM1 + 5
STAT_ROOM       equ 0x20                ; line status: the port can take a byte
EXIT_PORT       equ 0xF4                ; value v ends the run with exit code (v << 1) | 1

; ---- Multiboot header: how the loader finds its way --------------------------------
align 4
multiboot_header:
    dd MULTIBOOT_MAGIC
    dd MULTIBOOT_FLAGS
    dd -(MULTIBOOT_MAGIC + MULTIBOOT_FLAGS) ; the three add up to 0
    dd multiboot_header                 ; where this header belongs in memory
    dd BASE                             ; where the image begins
    dd image_end                        ; where it ends
    dd memory_end                       ; zeroed up to here
    dd start                            ; first instruction

; ---- The kernel --------------------------------------------------------------------
start:
    mov esp, stack_top
    cld
    lgdt [gdt_pointer]                  ; privileged: only ring 0 may
    jmp KERNEL_CODE:.reload             ; CS changes only by a far transfer
.reload:
    mov ax, KERNEL_DATA
    mov ds, ax
    mov es, ax
    mov ss, ax

.marker_segments:
    mov esi, greeting
    call print
.marker_printed:
    cli                                 ; IF = 0: no interrupts
    pushfd                              ; and what do the flags say? Not the same under every technique
    pop eax
.marker_flags:
    mov al, 0                           ; all is well
    out EXIT_PORT, al
.forever:                               ; only reached where there is no exit port
    hlt
    jmp .forever

; Print the text at ESI, up to its zero byte. Changes AL and DX.
print:
    lodsb
    test al, al
    jz .done
    push eax
    mov dx, COM1_LINE_STAT
.wait:
    in al, dx
    test al, STAT_ROOM
    jz .wait
    pop eax
    mov dx, COM1
    out dx, al
    jmp print
.done:
    ret

; ---- Data: never on a page with code -----------------------------------------------
align 4096, db 0
greeting:
    db "A kernel of my own.", 10, 0

align 4
gdt_pointer:
    dw gdt_end - gdt - 1                ; limit: the last valid byte
    dd gdt

; The table of segments, on a page of its own: a VMM that keeps a shadow of it watches whole pages.
align 4096, db 0
gdt:
    dq 0                                ; selector 0 is never valid
    dq 0x00CF9B000000FFFF               ; 0x08 ring 0 code: base 0, 4 GiB, execute/read
    dq 0x00CF93000000FFFF               ; 0x10 ring 0 data: base 0, 4 GiB, read/write
gdt_end:
image_end:

section .bss nobits align=4096
    resb 4096
stack_top:
memory_end:
