; A small system on one disk: the boot sector loads the rest by INT 13h, enters protected mode with paging, runs a
; program in ring 3, and reads its disk by interrupt. Everything it prints goes to the serial port.
bits 16
org 0x7C00
KERNEL_SECTORS  equ 15
        jmp 0:start
start:  xor ax, ax
        mov ds, ax
        mov es, ax
        mov ss, ax
        mov sp, 0x7000
        mov [0x500], dl
        mov si, loading
        call print
        mov ah, 0x41            ; by packets if the firmware has them, else by cylinder, head and sector
        mov bx, 0x55AA
        int 0x13
        jc .chs
        mov si, packet
        mov ah, 0x42
        mov dl, [0x500]
        int 0x13
        jnc .loaded
.chs:   mov ax, 0x0200 + KERNEL_SECTORS
        mov cx, 2
        mov dh, 0
        mov dl, [0x500]
        mov bx, 0x7E00
        int 0x13
        jc failed
.loaded:
        mov ax, 0x2401
        int 0x15
        cli
        lgdt [gdtr]
        mov eax, cr0
        or al, 1
        mov cr0, eax
        jmp 0x08:protected
failed: mov si, sorry
        call print
        mov al, 1
        out 0xF4, al
print:  lodsb
        test al, al
        jz .end
        mov ah, 0x0E
        mov bx, 7
        int 0x10
        jmp print
.end:   ret
packet: dw 16, KERNEL_SECTORS
        dd 0x7E00
        dd 1, 0
loading: db "loading", 13, 10, 0
sorry:  db "disk error", 13, 10, 0
        align 8
gdt:    dq 0
        dq 0x00CF9A000000FFFF   ; 08 kernel code
        dq 0x00CF92000000FFFF   ; 10 kernel data
        dq 0x00CFFA000000FFFF   ; 18 program's code
        dq 0x00CFF2000000FFFF   ; 20 program's data
task_descriptor:
        dw 0x67, 0
        db 0, 0x89, 0, 0        ; 28 task
gdtr:   dw gdtr - gdt - 1
        dd gdt
        times 510 - ($ - $$) db 0
        dw 0xAA55

bits 32
DIRECTORY equ 0x100000
TABLE   equ 0x101000
PROGRAM equ 0x400000            ; where the program lies, by the tables: in the frames from 200000h on
IDT     equ 0x102000
BUFFER  equ 0x110000

protected:
        mov ax, 0x10
        mov ds, ax
        mov es, ax
        mov ss, ax
        mov fs, ax
        mov gs, ax
        mov esp, 0x90000
        mov edi, DIRECTORY
        mov ecx, 3 * 1024
        xor eax, eax
        rep stosd
        mov edi, TABLE          ; the first 4 MiB as they are, for the kernel alone
        mov eax, 3
.page:  stosd
        add eax, 0x1000
        cmp edi, TABLE + 0x1000
        jb .page
        mov dword [DIRECTORY], TABLE + 3
        mov dword [DIRECTORY + 4], 0x103000 + 7
        mov edi, 0x103000       ; 64 pages of the program
        mov eax, 0x200007
.user:  stosd
        add eax, 0x1000
        cmp eax, 0x240007
        jb .user
        mov eax, DIRECTORY
        mov cr3, eax
        mov eax, cr0
        or eax, 0x80010000
        mov cr0, eax
        mov edi, IDT
        mov ecx, 256
.gate:  mov eax, unexpected
        call put_gate
        dec ecx
        jnz .gate
        mov edi, IDT + 8 * 0x0E
        mov eax, page_fault
        call put_gate
        mov edi, IDT + 8 * 0x20
        mov eax, timer
        call put_gate
        mov edi, IDT + 8 * 0x2E
        mov eax, disk
        call put_gate
        mov edi, IDT + 8 * 0x80
        mov eax, system_call
        call put_gate
        mov byte [IDT + 8 * 0x80 + 5], 0xEE
        lidt [idtr]
        mov dword [task + 4], 0x88000
        mov dword [task + 8], 0x10
        mov word [task + 0x66], 0x68
        mov eax, task
        mov [task_descriptor + 2], ax
        shr eax, 16
        mov [task_descriptor + 4], al
        mov ax, 0x28
        ltr ax
        mov al, 0x11            ; 8259A pair at 20h and 28h: timer, the second one, disk
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
        mov al, 0xFA
        out 0x21, al
        mov al, 0xBF
        out 0xA1, al
        mov al, 0x34            ; 100 ticks a second
        out 0x43, al
        mov ax, 11932
        out 0x40, al
        mov al, ah
        out 0x40, al
        mov al, 0
        mov dx, 0x3F6
        out dx, al
        mov esi, paged
        call say
        mov ebx, 20             ; two sectors from block 20 on, by interrupt
        call read_sector
        mov esi, BUFFER
        call say
        mov ebx, 21
        call read_sector
        mov esi, BUFFER
        call say
        mov esi, program        ; to its pages, through their own addresses
        mov edi, PROGRAM
        mov ecx, program_end - program
        rep movsb
        push 0x23
        push PROGRAM + 0x3F000
        push 0x202
        push 0x1B
        push PROGRAM
        mov ax, 0x23
        mov ds, ax
        mov es, ax
        mov fs, ax
        mov gs, ax
        iret

; EAX = handler: an interrupt gate at EDI, which moves on
put_gate:
        mov [edi], ax
        mov word [edi + 2], 0x08
        mov word [edi + 4], 0x8E00
        shr eax, 16
        mov [edi + 6], ax
        add edi, 8
        ret

; ESI = text
say:    push eax
        push edx
.next:  lodsb
        test al, al
        jz .end
        mov ah, al
        mov dx, 0x3FD
.wait:  in al, dx
        test al, 0x20
        jz .wait
        mov dx, 0x3F8
        mov al, ah
        out dx, al
        jmp .next
.end:   pop edx
        pop eax
        ret

; EBX = block: to BUFFER, sleeping until the disk calls
read_sector:
        mov byte [disk_called], 0
        mov dx, 0x1F2
        mov al, 1
        out dx, al
        mov eax, ebx
        inc edx
        out dx, al
        shr eax, 8
        inc edx
        out dx, al
        shr eax, 8
        inc edx
        out dx, al
        shr eax, 8
        or al, 0xE0
        inc edx
        out dx, al
        mov al, 0x20
        inc edx
        out dx, al
.sleep: cli
        cmp byte [disk_called], 0
        jne .called
        sti
        hlt
        jmp .sleep
.called:
        mov edi, BUFFER
        mov ecx, 128
        mov dx, 0x1F0
        rep insd
        ret

disk:   push eax
        push edx
        mov dx, 0x1F7
        in al, dx
        mov byte [disk_called], 1
        mov al, 0x20
        out 0xA0, al
        out 0x20, al
        pop edx
        pop eax
        iret

timer:  push eax
        push ds
        mov ax, 0x10
        mov ds, ax
        inc dword [ticks]
        mov al, 0x20
        out 0x20, al
        pop ds
        pop eax
        iret

page_fault:                     ; the program may not look at the kernel: on with the next instruction, two bytes
        push eax
        push ds
        mov ax, 0x10
        mov ds, ax
        inc dword [faults]
        pop ds
        pop eax
        add esp, 4
        add dword [esp], 2
        iret

system_call:                    ; EAX = 0: end, 1: print the text at ESI
        push ds
        push eax
        mov ax, 0x10
        mov ds, ax
        pop eax
        test eax, eax
        jz .end
        inc dword [calls]
        call say
        pop ds
        iret
.end:   mov al, '0'
        add al, [faults]
        mov [counted], al
        mov al, '0'
        add al, [calls]
        mov [counted + 1], al
        cmp dword [ticks], 3
        jb .early
        mov esi, counted
        call say
        mov al, 0
        out 0xF4, al
.early: mov al, 2
        out 0xF4, al

unexpected:
        mov al, 3
        out 0xF4, al

program:
        mov eax, 1
        mov esi, PROGRAM + .first - program
        int 0x80
        mov ebx, DIRECTORY
        mov eax, [ebx]          ; the kernel's: faults
        mov ecx, COUNT
.work:  mov edx, ecx
        imul edx, edx, 1103515245
        add edx, 12345
        xor ebp, edx
        mov [PROGRAM + 0x10000], ebp
        dec ecx
        jnz .work
        mov eax, 1
        mov esi, PROGRAM + .second - program
        int 0x80
        xor eax, eax
        int 0x80
.first: db "ring 3", 10, 0
.second:
        db "worked", 10, 0
program_end:

paged:  db "paging on", 10, 0
counted: db "..", 10, 0
        align 4
ticks:  dd 0
faults: dd 0
calls:  dd 0
disk_called: db 0
        align 4
idtr:   dw 8 * 256 - 1
        dd IDT
        align 4
task:   times 0x68 db 0
        times (1 + KERNEL_SECTORS) * 512 - ($ - $$) db 0
        times 20 * 512 - ($ - $$) db 0
        db "block 20", 10, 0
        times 21 * 512 - ($ - $$) db 0
        db "block 21", 10, 0
        times 32 * 512 - ($ - $$) db 0
