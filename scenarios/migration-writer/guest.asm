; migration-writer: a guest that writes faster than a link can carry.
;
; It sweeps over a mebibyte of memory again and again: a little computing, a word written,
; and on to the next page. Whoever wants to copy its memory while it runs finds, at the
; end of each round, that all pages are different once more. Only a guest that is slowed
; down lets itself be caught.
;
; Every page holds what the sweep before left there, or the guest panics; now and then it
; prints a sum over all pages. A page lost or mixed up on the way shows on the console.

bits 32
BASE            equ 0x100000        ; 1 MiB: the first address above video memory and firmware
org BASE
%define ADDR(label) (label - $$ + BASE) ; a label as a plain number that can be cut into pieces

MULTIBOOT_MAGIC equ 0x1BADB002
MULTIBOOT_FLAGS equ 1 << 16         ; "the address fields below are valid"

KERNEL_CODE     equ 0x08            ; selectors: index in the GDT * 8 + the ring that asks
KERNEL_DATA     equ 0x10
INTERRUPT_GATE  equ 0x8E            ; present, for ring 0, 32 bits, clears IF on entry
TIMER_VECTOR    equ 0x20            ; below are the CPU's own exceptions

COM1            equ 0x3F8           ; first serial port
COM1_LINE_STAT  equ COM1 + 5
STAT_ROOM       equ 0x20            ; line status: the transmitter can take a byte
EXIT_PORT       equ 0xF4            ; value v ends the run with exit code (v << 1) | 1
EXIT_PANIC      equ 0x7F

PAGE            equ 4096
HOT_PAGES       equ 256             ; a mebibyte
SWEEPS          equ 96
TOLD            equ 4               ; of so many sweeps one is told: a power of 2
WORK            equ 600             ; turns of an empty loop before each write
FIRST_WORD      equ 0x9E3779B9      ; odd, so that no two pages begin alike

%include "../common/multiboot.asm"

; ---- Kernel code (ring 0) -----------------------------------------------------------
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
    mov esi, text_welcome
    call print

    ; Give every page a word of its own.
    mov edi, hot
    mov ecx, HOT_PAGES
    mov eax, FIRST_WORD
.fill:
    mov [edi], eax
    mov [edi + PAGE - 4], eax
    add eax, FIRST_WORD
    add edi, PAGE
    dec ecx
    jnz .fill

.marker_sweeping:
    xor ebp, ebp                    ; sweeps done
.sweep:
    mov edi, hot
    mov ebx, FIRST_WORD             ; what this page began with
    xor edx, edx                    ; the sum
    mov esi, HOT_PAGES
.page:
    mov ecx, WORK                   ; "computing"
.work:
    dec ecx
    jnz .work
    mov eax, [edi]
    sub eax, ebp                    ; each sweep has added 1
    cmp eax, ebx
    jne panic
    cmp eax, [edi + PAGE - 4]       ; the end of the page, which stays as it is
    jne panic
.marker_write:
    inc dword [edi]
    rol edx, 5
    add edx, [edi]
    add ebx, FIRST_WORD
    add edi, PAGE
    dec esi
    jnz .page

    inc ebp
    test ebp, TOLD - 1
    jnz .next
    mov eax, edx
    mov esi, text_sweep
    push eax
    call print
    pop eax
    call print_hex
    mov al, 10
    call putc
.next:
    cmp ebp, SWEEPS
    jb .sweep

    mov esi, text_done
    call print
.marker_told:
    xor al, al
    out EXIT_PORT, al
    jmp halt

; Any exception that this kernel did not plan for, and any page that holds something else.
panic:
    mov esi, text_panic
    call print
    mov al, EXIT_PANIC
    out EXIT_PORT, al
halt:                               ; only reached where there is no exit port
    cli
    hlt
    jmp halt

; Print EAX as eight hexadecimal digits. Changes EAX, ECX and EDX.
print_hex:
    mov edx, eax
    mov ecx, 8
.digit:
    rol edx, 4
    mov al, dl
    and al, 0x0F
    add al, '0'
    cmp al, '9'
    jbe .put
    add al, 'A' - '0' - 10
.put:
    call putc
    dec ecx
    jnz .digit
    ret

%include "../common/print.asm"
%include "../common/putc.asm"

; ---- Data: never on a page with code ------------------------------------------------
align 4096, db 0

text_welcome:
    db "I write to 256 pages, over and over. Now and then, their sum:", 10, 0
text_sweep:
    db "  ", 0
text_done:
    db "Every page held what I had left there.", 10, 0
text_panic:
    db "PANIC: a page holds something else, or an exception.", 10, 0

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
; only watch whole pages. The Accessed bit (bit 0 of the type) is already set: the CPU
; would otherwise write it here on the first load of a segment.
align 4096, db 0
gdt:
    dq 0                            ; selector 0 is never valid
    dq 0x00CF9B000000FFFF           ; 0x08 ring 0 code: base 0, 4 GiB, execute/read
    dq 0x00CF93000000FFFF           ; 0x10 ring 0 data: base 0, 4 GiB, read/write
gdt_end:

; ---- Interrupt descriptor table -----------------------------------------------------
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
idt_end:
image_end:

; ---- Memory that needs no place in the file -----------------------------------------
absolute ADDR(image_end)
alignb 4096
hot:
    resb HOT_PAGES * PAGE
    resb 4096
kernel_stack_top:
memory_end:

