; migration-quiet: a guest that sleeps nearly all the time.
;
; Its memory is full, and yet there is next to nothing to copy twice: twenty times a
; second the timer wakes it, it counts, writes to one more of its pages, prints a line,
; and sleeps again. The first round of a migration takes long, the second is short, and
; the guest stands still for hardly longer than its registers take to go over.
;
; It counts ticks of its timer and looks at every page at the end: a tick that got lost
; on the way, or came twice, or a page that did, shows on the console.

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

PIC1            equ 0x20            ; the first interrupt controller: commands
PIC1_MASK       equ 0x21
PIC2            equ 0xA0
PIC2_MASK       equ 0xA1
BEGIN           equ 0x11            ; "four bytes of initialization follow"
CASCADE         equ 1 << 2          ; the second controller hangs at request 2 of the first
MODE_8086       equ 1
END_OF_INTERRUPT equ 0x20
ALL_BUT_TIMER   equ 0xFE            ; mask: a 1 keeps a request from the CPU
ALL             equ 0xFF

TIMER           equ 0x40            ; the 8254's counter 0
TIMER_MODE      equ 0x43
PERIODIC        equ 0x34            ; counter 0, two bytes follow, mode 2
PERIOD          equ 59659           ; of 1.193182 MHz: 50 milliseconds

PAGE            equ 4096
FULL_PAGES      equ 128             ; half a mebibyte
TICKS           equ 40              ; two seconds
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
    call set_up_controllers
    mov esi, text_welcome
    call print

    ; Give every page a word of its own.
    mov edi, full
    mov ecx, FULL_PAGES
    mov eax, FIRST_WORD
.fill:
    mov [edi], eax
    add eax, FIRST_WORD
    add edi, PAGE
    dec ecx
    jnz .fill
    call start_timer

    mov edi, full                   ; the page that the next tick writes to
.marker_quiet:
    xor ebp, ebp                    ; ticks told
.sleep:
    sti                             ; STI and HLT: no tick comes between
    hlt
    cli
    inc ebp
    cmp ebp, [ticks]                ; one for each time that it woke
    jne panic
.marker_write:
    inc dword [edi]
    add edi, PAGE
    mov esi, text_tick
    call print
    mov eax, ebp
    call print_hex
    mov al, 10
    call putc
    cmp ebp, TICKS
    jb .sleep

    ; The first pages have changed by 1, the others not at all.
    mov edi, full
    mov eax, FIRST_WORD
    mov ecx, FULL_PAGES
.check:
    push eax
    test ebp, ebp
    jz .same
    dec ebp
    inc eax                         ; this one was written to
.same:
    cmp eax, [edi]
    pop eax
    jne panic
    add eax, FIRST_WORD
    add edi, PAGE
    dec ecx
    jnz .check

    mov esi, text_done
    call print
.marker_told:
    xor al, al
    out EXIT_PORT, al
    jmp halt

; The timer's interrupt. Whatever runs may be interrupted, so every register comes back.
tick:
    push eax
    inc dword [ticks]
    mov al, END_OF_INTERRUPT        ; or the controller would hold back the next one
    out PIC1, al
    pop eax
    iretd

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
    mov al, 2                       ; the second one's name at the first
    out PIC2_MASK, al
    mov al, MODE_8086
    out PIC1_MASK, al
    out PIC2_MASK, al
    mov al, ALL_BUT_TIMER
    out PIC1_MASK, al
    mov al, ALL
    out PIC2_MASK, al
    ret

; Let the timer tick. Changes EAX.
start_timer:
    mov al, PERIODIC
    out TIMER_MODE, al
    mov al, PERIOD & 0xFF
    out TIMER, al
    mov al, PERIOD >> 8
    out TIMER, al
    ret

; ---- Data: never on a page with code ------------------------------------------------
align 4096, db 0
ticks:
    dd 0

text_welcome:
    db "I sleep, and count the ticks that wake me:", 10, 0
text_tick:
    db "  ", 0
text_done:
    db "No tick was lost, and every page is as it should be.", 10, 0
text_panic:
    db "PANIC: a tick too many or too few, a page that is wrong, or an exception.", 10, 0

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
    gate tick
idt_end:
image_end:

; ---- Memory that needs no place in the file -----------------------------------------
absolute ADDR(image_end)
alignb 4096
full:
    resb FULL_PAGES * PAGE
    resb 4096
kernel_stack_top:
memory_end:

