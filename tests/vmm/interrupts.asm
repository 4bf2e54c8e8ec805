; A guest that is interrupted in every state it can be in, and writes down where.
bits 32
org 0x1000
%define TICKS   0x200000
%define LOG     0x201000
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
    mov ecx, 256                ; every vector but ours: a handler that ends the run
    xor edi, edi
.fill:
    mov eax, unexpected
    mov word [idt + edi], ax
    shr eax, 16
    mov word [idt + edi + 6], ax
    mov dword [idt + edi + 2], 0x8E000008
    mov word [idt + edi + 2], 8
    mov byte [idt + edi + 4], 0
    mov byte [idt + edi + 5], 0x8E
    add edi, 8
    loop .fill
    mov word [idt + 0x20*8], tick
    mov word [idt + 0x27*8], spurious
    mov word [idt + 0x80*8], syscall
    mov byte [idt + 0x80*8 + 5], 0xEF   ; a trap gate for ring 3: IF stays
    mov al, 0x11                ; both 8259A, vectors from 20h and 28h
    out 0x20, al
    out 0xA0, al
    mov al, 0x20
    out 0x21, al
    mov al, 0x28
    out 0xA1, al
    mov al, 4
    out 0x21, al
    mov al, 2
    out 0xA1, al
    mov al, 1
    out 0x21, al
    out 0xA1, al
    mov al, 0xFE                ; only IRQ 0
    out 0x21, al
    mov al, 0xFF
    out 0xA1, al
    mov al, 0x34                ; counter 0 of the 8254, mode 2: a tick every PERIOD clocks of 1.193182 MHz
    out 0x43, al
    mov al, PERIOD & 0xFF
    out 0x40, al
    mov al, PERIOD >> 8
    out 0x40, al
    ; IF is 0: the tick waits
    mov ecx, 100
.wait:
    loop .wait
    sti
    inc ebx                     ; the shadow of STI: runs before the tick
    inc ebx
    ; critical sections as kernels write them
    mov ecx, 60
.critical:
    pushfd
    cli
    mov eax, [TICKS]
    mov edx, 7
.inner:
    dec edx
    jnz .inner
    cmp eax, [TICKS]
    jne failed
    popfd
    nop
    dec ecx
    jnz .critical
    ; loads of SS and STI with IF set already, in all phases against the tick
    mov ecx, 80
.shadows:
    mov ax, ss
    mov ss, ax
    inc esi
    push ss
    pop ss
    inc esi
    sti
    inc esi
    cli
    sti
    inc esi
    cli
    nop
    sti
    mov ss, ax
    inc esi
    dec ecx
    jnz .shadows
    ; masked at the controller, and let in again
    mov ecx, 10
.masks:
    mov al, 0xFF
    out 0x21, al
    mov edx, 30
.m1: dec edx
    jnz .m1
    mov al, 0xFE
    out 0x21, al
    nop
    dec ecx
    jnz .masks
    ; sleep
    mov ecx, 10
.sleep:
    cli
    nop
    sti
    hlt
    inc edi
    hlt
    loop .sleep
    ; a string instruction in between, and a far transfer
    mov ecx, 30
.strings:
    push ecx
    mov esi, 0x300000
    mov edi, 0x310000
    mov ecx, 50
    cld
    rep movsb
    pushfd
    push dword 8
    push dword .back
    iretd
.back:
    pop ecx
    loop .strings
    ; programs in ring 3
    push dword 0x23
    push dword 0x80000
    push dword 0x202
    push dword 0x1B
    push dword user
    iretd
user:
    mov ax, 0x23
    mov ds, ax
    mov ecx, 60
.loop:
    mov ax, 0x23
    mov ss, ax
    inc esi
    mov edx, 5
.l2:
    dec edx
    jnz .l2
    int 0x80
    pushfd
    popfd
    loop .loop
    mov eax, 1
    int 0x80

syscall:
    cmp eax, 1
    je .end
    push ecx
    mov ecx, 11
.l: loop .l
    pop ecx
    iretd
.end:
    mov ax, 0x10
    mov ds, ax
    cli
    mov al, 0xFF
    out 0x21, al
    hlt
tick:
    push eax
    push ebx
    push ds
    mov ax, 0x10
    mov ds, ax
    mov ebx, [TICKS]
    mov eax, [esp + 12]         ; where it came
    mov [LOG + ebx*4], eax
    inc dword [TICKS]
    mov al, 0x20
    out 0x20, al
    pop ds
    pop ebx
    pop eax
    iretd
spurious:
    push ds
    push eax
    mov ax, 0x10
    mov ds, ax
    inc dword [TICKS + 4]
    pop eax
    pop ds
    iretd
failed:
    mov dword [TICKS + 8], 0xBAD
    cli
    hlt
unexpected:
    mov dword [TICKS + 8], 0xBADBAD
    cli
    hlt

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
