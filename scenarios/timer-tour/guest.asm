; timer-tour: when does an interrupt arrive?
;
; The timer asks for an interrupt now and then. Whether and when the CPU takes it is for
; the kernel to say, and there are four answers in this tour:
;   1. The CPU sleeps in HLT with IF = 1: the tick wakes it.
;   2. IF = 0: the request waits in the interrupt controller.
;   3. STI sets IF, and yet the next instruction still comes first: it lies in the
;      shadow of STI. So a kernel can write STI and HLT and never sleep through a tick.
;   4. IF = 1, but the controller's mask is set: the request waits there. When the mask
;      is taken away it comes at once.
; After each of them the kernel says how many ticks it has counted.
;
; The controller and the timer are the VMM's wherever there is one, and so is the real
; interrupt flag. Where the guest must not be interrupted yet, the VMM has to remember.

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
SHOW_REQUESTS   equ 0x0A            ; the next read of PIC1 gives what has been requested
ALL_BUT_TIMER   equ 0xFE            ; mask: a 1 keeps a request from the CPU
ALL             equ 0xFF

TIMER           equ 0x40            ; the 8254's counter 0
TIMER_MODE      equ 0x43
PERIODIC        equ 0x34            ; counter 0, two bytes follow, mode 2
PERIOD          equ 5000            ; of 1.193182 MHz: about 4 milliseconds

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
    call start_timer                ; last, so that the first tick is yet to come

    ; 1. Asleep.
    sti
.marker_sleep:
    hlt                             ; until an interrupt comes
.marker_awake:
    cli
    mov esi, text_asleep
    call report

    ; 2. and 3. Interrupts are off: wait until the timer asks, and then let it in.
    call wait_for_request
    mov edi, [ticks]                ; nothing has come
.marker_pending:
    mov esi, text_flag
    call report
    sti
.marker_shadow:
    mov ebx, [ticks]                ; in the shadow of STI: still nothing
    nop                             ; the tick is taken before this one
    cli
.marker_taken:
    mov esi, text_shadow
    call report
    cmp ebx, edi
    jne panic

    ; 4. Interrupts are on, but the controller keeps the request to itself.
    mov al, ALL
    out PIC1_MASK, al
    sti
    call wait_for_request
.marker_masked:
    mov ebx, [ticks]
    mov al, ALL_BUT_TIMER
.marker_unmask:
    out PIC1_MASK, al               ; and there it is: on a real board a little later,
    jmp .let_in                     ; so give it the time of a jump
.let_in:
    cli
    mov esi, text_mask
    call report
    inc ebx
    cmp ebx, [ticks]                ; one more than while the mask was set
    jne panic

    mov esi, text_done
    call print
    mov eax, [ticks]
    sub eax, 3                      ; 0 if three ticks were taken, no more and no less
.marker_told:
    out EXIT_PORT, al
    jmp halt

; The timer's interrupt. Whatever runs may be interrupted, so every register comes back.
tick:
    push eax
    inc dword [ticks]
    mov al, END_OF_INTERRUPT        ; or the controller would hold back the next one
    out PIC1, al
    pop eax
.marker_return:
    iretd

; Any exception that this kernel did not plan for, and any count that is wrong.
panic:
    mov esi, text_panic
    call print
    mov al, EXIT_PANIC
    out EXIT_PORT, al
halt:                               ; only reached where there is no exit port
    cli
    hlt
    jmp halt

; Wait until the timer has asked for an interrupt that nobody has taken. Changes EAX.
wait_for_request:
    mov al, SHOW_REQUESTS
    out PIC1, al
.ask:
    in al, PIC1
    test al, 1
    jz .ask
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

; Print the text at ESI and the ticks so far. Changes EAX and ESI.
report:
    call print
    mov eax, [ticks]
    add al, '0'
    call putc
    mov al, 10
    jmp putc

%include "../common/print.asm"
%include "../common/putc.asm"

; ---- Data: never on a page with code ------------------------------------------------
align 4096, db 0
ticks:
    dd 0

text_welcome:
    db "A timer ticks, and who hears it? Ticks taken so far:", 10, 0
text_asleep:
    db "  asleep in HLT until one came: ", 0
text_flag:
    db "  one is waiting, interrupts are off: ", 0
text_shadow:
    db "  interrupts on, and the instruction after STI over: ", 0
text_mask:
    db "  held back by the controller's mask, then let go: ", 0
text_done:
    db "None came too early, none was lost.", 10, 0
text_panic:
    db "PANIC: a tick at the wrong moment, or an exception.", 10, 0

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
section .bss nobits align=4096
    resb 4096
kernel_stack_top:
memory_end:

