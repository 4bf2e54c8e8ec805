; A guest that lives on interrupts: timer, keyboard, terminal (both ways) and clock. It sleeps, takes what is typed, and
; at the end prints what it took. The same file boots in QEMU.
bits 32
org 0x100000
%define KEYS    6
%define CHARS   24
%define TICKS   20
header:
    dd 0x1BADB002, 0x10000, -(0x1BADB002 + 0x10000), header, header, image_end, image_end, start

%macro outb 2
    mov al, %2
    out %1, al
%endmacro
%macro outb_dx 2
    mov edx, %1
    mov al, %2
    out dx, al
%endmacro
%macro gate 2
    mov eax, %2
    mov [idt + 8 * %1], ax
    shr eax, 16
    mov [idt + 8 * %1 + 6], ax
    mov dword [idt + 8 * %1 + 2], 0x8E000008
    mov word [idt + 8 * %1 + 2], 8
    mov word [idt + 8 * %1 + 4], 0x8E00
%endmacro

start:
    cli
    mov esp, stack_top
    lgdt [gdtr]
    jmp 8:.on
.on:
    mov ax, 0x10
    mov ds, ax
    mov es, ax
    mov ss, ax
    gate 0x20, tick
    gate 0x21, key
    gate 0x24, terminal
    gate 0x28, clock
    lidt [idtr]
    outb 0x20, 0x11
    outb 0x21, 0x20
    outb 0x21, 0x04
    outb 0x21, 0x01
    outb 0xA0, 0x11
    outb 0xA1, 0x28
    outb 0xA1, 0x02
    outb 0xA1, 0x01
.flush:                         ; what was typed before is nobody's
    in al, 0x64
    test al, 1
    jz .flushed
    in al, 0x60
    jmp .flush
.flushed:
    outb 0x64, 0x60             ; keyboard: interrupt, translation
    outb 0x60, 0x61
    outb 0x43, 0x34             ; timer: 100 Hz
    outb 0x40, 11932 & 0xFF
    outb 0x40, 11932 >> 8
    outb_dx 0x3FB, 0x80         ; terminal: 115,200 bits a second, 8N1, FIFOs with trigger level 1
    outb_dx 0x3F8, 0x01
    outb_dx 0x3F9, 0x00
    outb_dx 0x3FB, 0x03
    outb_dx 0x3FA, 0x07
    outb_dx 0x3FC, 0x0B         ; DTR, RTS, OUT2
    outb_dx 0x3F9, 0x03         ; received data, transmitter empty
    outb 0x70, 0x0B             ; clock: interrupt after each update
    in al, 0x71
    or al, 0x10
    mov ah, al
    outb 0x70, 0x0B
    mov al, ah
    out 0x71, al
    outb 0x70, 0x0C
    in al, 0x71
    outb 0x21, 0xE8             ; lines 0, 1, 2, 4
    outb 0xA1, 0xFE             ; line 8
    outb 0xE9, '!'
.sleep:
    sti
    hlt
    cli
    cmp dword [key_count], KEYS
    jb .sleep
    cmp dword [char_count], CHARS
    jb .sleep
    cmp dword [tick_count], TICKS
    jb .sleep
    cmp dword [clock_count], 1
    jb .sleep
    mov esi, keys
    mov ecx, KEYS
    call print
    mov esi, chars
    mov ecx, CHARS
    call print
    xor eax, eax
    out 0xF4, al
    jmp $

print:
    lodsb
    out 0xE9, al
    loop print
    ret

tick:
    push eax
    inc dword [tick_count]
    outb 0x20, 0x20
    pop eax
    iret

key:
    push eax
    push ebx
    in al, 0x60
    mov ebx, [key_count]
    cmp ebx, KEYS
    jae .full
    mov [keys + ebx], al
    inc dword [key_count]
.full:
    outb 0x20, 0x20
    pop ebx
    pop eax
    iret

terminal:
    pushad
.more:
    mov edx, 0x3FA
    in al, dx
    test al, 1
    jnz .done
    and al, 0x0E
    cmp al, 2
    je .send
    mov edx, 0x3F8
    in al, dx
    mov ebx, [char_count]
    cmp ebx, CHARS
    jae .more
    mov [chars + ebx], al
    inc dword [char_count]
    jmp .more
.send:
    mov ebx, [sent_count]
    mov al, [message + ebx]
    test al, al
    jz .sent
    mov edx, 0x3F8
    out dx, al
    inc dword [sent_count]
    jmp .more
.sent:
    outb_dx 0x3F9, 0x01
    jmp .more
.done:
    outb 0x20, 0x20
    popad
    iret

clock:
    push eax
    outb 0x70, 0x0C
    in al, 0x71
    inc dword [clock_count]
    outb 0xA0, 0x20
    outb 0x20, 0x20
    pop eax
    iret

message: db "sent by interrupt, a byte at a time", 10, 0
align 8
gdt:
    dq 0, 0x00CF9A000000FFFF, 0x00CF92000000FFFF
gdtr:
    dw 23
    dd gdt
idtr:
    dw 0x28 * 8 + 7
    dd idt
tick_count: dd 0
key_count: dd 0
char_count: dd 0
sent_count: dd 0
clock_count: dd 0
keys: times KEYS db 0
chars: times CHARS db 0
align 8
idt: times 0x29 dq 0
times 1024 db 0
stack_top:
image_end:
