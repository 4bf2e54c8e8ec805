; A guest that lives on its local APIC, as kernels for more than one CPU do: timer, I/O APIC, a message to itself.
bits 32
org 0x1000
%define TICKS   0x200000
%define LOG     0x201000
%define APIC    0xFEE00000
%define IOAPIC  0xFEC00000
start:
    lgdt [gdtr]
    lidt [idtr]
    jmp 8:.on
.on:
    mov ax, 0x10
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov esp, 0x90000
    mov ax, 0x28
    ltr ax
    mov word [idt + 0x30*8], tick
    mov word [idt + 0x31*8], line
    mov word [idt + 0x32*8], message
    mov word [idt + 0x3F*8], spurious
    mov edi, idt + 0x30*8
    mov ecx, 16
.fill:
    mov word [edi + 2], 8
    mov word [edi + 4], 0x8E00
    add edi, 8
    loop .fill
    mov al, 0xFF                ; the old controllers masked
    out 0x21, al
    out 0xA1, al
    mov eax, [APIC + 0x30]      ; version
    mov [TICKS + 16], eax
    mov dword [APIC + 0xF0], 0x13F      ; on; spurious vector
    mov dword [APIC + 0x3E0], 0xB       ; divide by 1
    mov dword [APIC + 0x320], 0x20030   ; periodic
    mov dword [APIC + 0x380], PERIOD
    mov dword [APIC + 0x350], 0x10000
    mov dword [APIC + 0x280], 0
    mov dword [APIC + 0xB0], 0
    mov dword [IOAPIC], 0x10 + 2*2      ; the timer of old, on input 2
    mov dword [IOAPIC + 0x10], 0x31
    mov dword [IOAPIC], 0x11 + 2*2
    mov dword [IOAPIC + 0x10], 0
    mov al, 0x34
    out 0x43, al
    mov al, 200
    out 0x40, al
    mov al, 0
    out 0x40, al
    and dword [APIC + 0x80], 0          ; reads, changes and writes: open for all
    sti
    mov ecx, 150
.work:
    push ecx
    mov ecx, 20
.inner: loop .inner
    pop ecx
    mov dword [APIC + 0x310], 0
    mov dword [APIC + 0x300], 0x40032   ; to itself
    mov eax, [APIC + 0x390]             ; current count
    add [TICKS + 20], eax
    pushfd
    cli
    mov eax, [TICKS]
    nop
    nop
    cmp eax, [TICKS]
    jne failed
    popfd
    dec ecx
    jnz .work
    mov ecx, 10
.sleep:
    hlt
    loop .sleep
    mov dword [APIC + 0x80], 0x30       ; nothing below class 4 any more
    mov ecx, 300
.deaf: loop .deaf
    mov eax, [APIC + 0x210]             ; what waits
    mov [TICKS + 24], eax
    mov eax, [APIC + 0xA0]
    mov [TICKS + 28], eax
    cli
    mov dword [APIC + 0x80], 0
    mov dword [APIC + 0xF0], 0xFF       ; off
    hlt
failed:
    mov dword [TICKS + 8], 0xBAD
    cli
    hlt
%macro handler 2
%1:
    push eax
    push ebx
    mov ebx, [TICKS]
    mov eax, [esp + 8]
    mov [LOG + ebx*8], eax
    mov dword [LOG + ebx*8 + 4], %2
    inc dword [TICKS]
    mov dword [APIC + 0xB0], 0
    pop ebx
    pop eax
    iretd
%endmacro
handler tick, 1
handler line, 2
handler message, 3
handler spurious, 4
align 8
gdt:
    dq 0
    dq 0x00CF9B000000FFFF
    dq 0x00CF93000000FFFF
    dq 0x00CFFB000000FFFF
    dq 0x00CFF3000000FFFF
    dw 0x67, tss, 0x8900, 0
gdtr: dw gdtr - gdt - 1
    dd gdt
idtr: dw 0x7FF
    dd idt
align 16
tss:
    dd 0, 0x88000, 0x10
    times 22 dd 0
    dw 0, 0x68
align 16
idt: times 256 dq 0
