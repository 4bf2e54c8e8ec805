; hello-serial: a kernel alone in ring 0 prints a paragraph, byte by byte.
;
; The port is a 16550 UART at 0x3F8. It can hold a byte until the line is free, so
; before each byte the guest asks the line status register whether there is room:
; one IN at least, and one OUT, for every character you read. On bare metal these
; go straight to the hardware. Under a VMM each of them is a trap or an exit.
;
; With PARAVIRT defined this becomes a kernel for a Xen-like hypervisor: it runs in
; ring 1, knows it, and asks for what it may not do itself. It says what it wants in
; registers and executes INT 0x82. See `ringviz build --diff` for all that changes.

bits 32
BASE            equ 0x100000        ; 1 MiB: the first address above video memory and firmware
org BASE
%define ADDR(label) (label - $$ + BASE) ; a label as a plain number that can be cut into pieces

MULTIBOOT_MAGIC equ 0x1BADB002
MULTIBOOT_FLAGS equ 1 << 16         ; "the address fields below are valid"

%ifdef PARAVIRT
KERNEL_CODE     equ 0x08 + 1        ; selectors: index in the GDT * 8 + the ring that asks
KERNEL_DATA     equ 0x10 + 1

HYPERCALL       equ 0x82            ; EAX says which, EBX, ECX, EDX have its arguments
SET_GDT         equ 2
SCHED_OP        equ 6
UPDATE_MAPPING  equ 14
CONSOLE_IO      equ 18
SHUTDOWN        equ 2               ; command of SCHED_OP
CONSOLE_WRITE   equ 0               ; command of CONSOLE_IO
FLUSH_PAGE      equ 2               ; forget the old entry of this page
FRAME_LIST      equ 72              ; in the start_info page that ESI points to at the entry
PAGE_READ_ONLY  equ 1 + 4           ; page-table entry: present, for all rings, not writable
%else
KERNEL_CODE     equ 0x08            ; selectors: index in the GDT * 8
KERNEL_DATA     equ 0x10
%endif

COM1            equ 0x3F8           ; first serial port
COM1_DIVISOR_LO equ COM1 + 0        ; these two appear while DLAB is 1
COM1_DIVISOR_HI equ COM1 + 1
COM1_IRQ_ENABLE equ COM1 + 1
COM1_LINE_CTL   equ COM1 + 3
COM1_LINE_STAT  equ COM1 + 5
LINE_DLAB       equ 0x80            ; line control: show the divisor instead of the data
LINE_8N1        equ 0x03            ; line control: 8 bits, no parity, 1 stop bit
STAT_ROOM       equ 0x20            ; line status: the transmitter can take a byte
EXIT_PORT       equ 0xF4            ; value v ends the run with exit code (v << 1) | 1

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

; ---- Code ---------------------------------------------------------------------------
start:
    mov esp, stack_top              ; the loader promises no stack
    cld                             ; LODSB is to walk upwards

    ; The loader's segments work, but nobody says where their table is: bring our own.
%ifdef PARAVIRT
    ; The hypervisor wants to read the table first, and nobody may change it afterwards:
    ; give up the right to write to its page, then name the page's machine frame.
    pushad
    mov eax, [esi + FRAME_LIST]     ; the frames we have, in the order of our pages
    mov eax, [eax + 4 * (ADDR(gdt) >> 12)]
    mov [gdt_frame], eax
    shl eax, 12
    lea ecx, [eax + PAGE_READ_ONLY]
    mov ebx, gdt
    mov edx, FLUSH_PAGE
    mov eax, UPDATE_MAPPING
    int HYPERCALL
    mov ebx, gdt_frame              ; a list of one frame
    mov ecx, (gdt_end - gdt) / 8
    mov eax, SET_GDT
    int HYPERCALL
    popad
%else
    lgdt [gdt_pointer]
%endif
    jmp KERNEL_CODE:.reload         ; CS changes only by a far transfer
.reload:
    mov ax, KERNEL_DATA
    mov ds, ax
    mov es, ax
    mov ss, ax

.marker_segments:
%ifndef PARAVIRT
    call serial_init
%endif
    mov esi, paragraph
    call print
.marker_printed:

%ifdef PARAVIRT
    mov ebx, SHUTDOWN
    mov ecx, 0                      ; all is well
    mov eax, SCHED_OP
    int HYPERCALL
%else
    mov al, 0                       ; all is well
    out EXIT_PORT, al
%endif
.forever:                           ; only reached where there is no exit port
    hlt
    jmp .forever

%ifndef PARAVIRT
; Set the line to 115,200 baud, 8N1, and let it raise no interrupts: we poll.
serial_init:
    mov dx, COM1_IRQ_ENABLE
    mov al, 0
    out dx, al
    mov dx, COM1_LINE_CTL
    mov al, LINE_DLAB
    out dx, al
    mov dx, COM1_DIVISOR_LO
    mov al, 1                       ; 115,200 / 1
    out dx, al
    mov dx, COM1_DIVISOR_HI
    mov al, 0
    out dx, al
    mov dx, COM1_LINE_CTL
    mov al, LINE_8N1                ; clears DLAB as well
    out dx, al
    ret
%endif

; Print the text at ESI, up to its zero byte.
%ifdef PARAVIRT
print:                              ; the whole text in one call. Changes EDX
    mov edx, esi                    ; where it begins
.measure:
    lodsb
    test al, al
    jnz .measure
    pushad
    lea ecx, [esi - 1]
    sub ecx, edx                    ; how long it is
    mov ebx, CONSOLE_WRITE
    mov eax, CONSOLE_IO
    int HYPERCALL
    popad
    ret
%else
print:
    lodsb
    test al, al
    jz .done
    call putc
    jmp print
.done:
    ret

; Send the character in AL. Changes DX.
putc:
    push eax
    mov dx, COM1_LINE_STAT
.wait:
    in al, dx
    test al, STAT_ROOM
    jz .wait
    pop eax
    mov dx, COM1
    out dx, al
    ret
%endif

; ---- Data: never on a page with code ------------------------------------------------
align 4096, db 0
paragraph:
    db "Hello from ring 0.", 10
    db "Every letter you read took one OUT, and at least one IN to ask for leave.", 10
    db "On bare metal the port answers. Under a hypervisor someone else does,", 10
    db "and I cannot tell the difference. That is the whole idea.", 10, 0

align 4
%ifdef PARAVIRT
gdt_frame:
    dd 0                            ; the machine frame that the table is in
%else
gdt_pointer:
    dw gdt_end - gdt - 1            ; limit: the last valid byte
    dd gdt
%endif

; ---- Global descriptor table, on a page of its own ----------------------------------
; A VMM that keeps a shadow of this table must notice every write to it, and it can
; only watch whole pages. For the same reason the Accessed bit (bit 0 of the type) is
; already set: the CPU would otherwise write it here on the first load of a segment.
align 4096, db 0
gdt:
    dq 0                            ; selector 0 is never valid
%ifdef PARAVIRT
    dq 0x00CFBB000000FFFF           ; 0x08 ring 1 code: base 0, as far as the hypervisor lets it
    dq 0x00CFB3000000FFFF           ; 0x10 ring 1 data: likewise
%else
    dq 0x00CF9B000000FFFF           ; 0x08 ring 0 code: base 0, 4 GiB, execute/read
    dq 0x00CF93000000FFFF           ; 0x10 ring 0 data: base 0, 4 GiB, read/write
%endif
gdt_end:
image_end:

; ---- Memory that needs no place in the file -----------------------------------------
section .bss nobits align=4096
    resb 4096
stack_top:
memory_end:
