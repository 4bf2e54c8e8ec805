; Calls the firmware, and writes what it answers to the serial port as lines of hexadecimal numbers: the same in QEMU.
bits 16
org 0x7C00
        jmp 0:start
start:  xor ax, ax
        mov ds, ax
        mov es, ax
        mov ss, ax
        mov sp, 0x7000
        cld
        mov ax, 0x020F          ; the rest of the program
        mov cx, 2
        mov dx, 0x0080
        mov bx, 0x7E00
        int 0x13
        jc .failed
        jmp rest
.failed:
        mov al, 2
        out 0xF4, al

; AL to the serial port
put:    push dx
        push ax
        mov dx, 0x3FD
.wait:  in al, dx
        test al, 0x20
        jz .wait
        pop ax
        mov dx, 0x3F8
        out dx, al
        pop dx
        ret
; AX as four digits and a space
hex:    pusha
        mov cx, 4
.next:  rol ax, 4
        push ax
        and al, 15
        add al, '0'
        cmp al, '9'
        jbe .digit
        add al, 7
.digit: call put
        pop ax
        loop .next
        mov al, ' '
        call put
        popa
        ret
line:   push ax
        mov al, 10
        call put
        pop ax
        ret
; CF as a number, then AX
status: pushf
        push ax
        pushf
        pop ax
        and ax, 1
        call hex
        pop ax
        call hex
        popf
        ret
; the sum of CX words at ES:SI, each turned by its place
sum:    pusha
        xor bx, bx
.next:  rol bx, 1
        add bx, [es:si]
        add si, 2
        loop .next
        mov ax, bx
        call hex
        popa
        ret
; what is on the screen, and where its cursor is by data and by registers
screen: pusha
        push es
        push 0xB800
        pop es
        xor si, si
        mov cx, 0x1000
        call sum
        mov ah, 3
        mov bh, 0
        int 0x10
        mov ax, dx
        call hex
        mov ax, cx
        call hex
        mov dx, 0x3D4
        mov al, 0x0E
        out dx, al
        inc dx
        in al, dx
        mov ah, al
        dec dx
        mov al, 0x0F
        out dx, al
        inc dx
        in al, dx
        call hex
        pop es
        popa
        call line
        ret
; DS:SI = text: by teletype
say:    lodsb
        test al, al
        jz .end
        mov ah, 0x0E
        mov bx, 0x0007
        int 0x10
        jmp say
.end:   ret
        times 510 - ($ - $$) db 0
        dw 0xAA55

rest:
%macro read 4                   ; sectors, cylinder, head, sector
        mov ax, 0x0200 + %1
        mov cx, (%2 & 0xFF) << 8 | (%2 >> 8) << 6 | %4
        mov dx, %3 << 8 | 0x80
        mov bx, 0x1234
        push 0x2000
        pop es
        int 0x13
        call status
        mov si, 0x1234
        mov cx, 256 * %1
        call sum
        call line
%endmacro
        read 1, 0, 0, 1
        read 3, 0, 0, 17
        read 9, 0, 2, 60
        read 20, 3, 15, 60
        mov ax, 0x0201          ; beyond the end
        mov cx, 0x0801
        mov dx, 0x0080
        int 0x13
        pushf
        pop ax
        and ax, 1
        call hex
        mov ax, 0x0201          ; sector 0 there is none
        mov cx, 0x0000
        mov dx, 0x0080
        int 0x13
        pushf
        pop ax
        and ax, 1
        call hex
        mov ax, 0x0201          ; no such disk
        mov cx, 0x0001
        mov dx, 0x0081
        int 0x13
        pushf
        pop ax
        and ax, 1
        call hex
        call line
        push 0                  ; by packets
        pop ds
        mov ah, 0x41
        mov bx, 0x55AA
        mov dl, 0x80
        int 0x13
        pushf
        pop ax
        and ax, 1
        call hex
        mov ax, bx
        call hex
        mov ax, cx
        and ax, 1
        call hex
        call line
        mov ah, 0x42
        mov si, packet
        mov dl, 0x80
        int 0x13
        mov al, 0
        call status
        mov ax, [packet + 2]
        call hex
        push 0x3000
        pop es
        mov si, 0xFFF0
        xor si, si
        mov si, 8
        mov cx, 7 * 256
        call sum
        call line
        mov ah, 0x43            ; write five of them elsewhere
        mov al, 0
        mov word [packet + 2], 5
        mov dword [packet + 8], 4000
        mov si, packet
        mov dl, 0x80
        int 0x13
        mov al, 0
        call status
        mov word [packet + 2], 6
        mov dword [packet + 4], 0x40000000
        mov ah, 0x42
        mov si, packet
        mov dl, 0x80
        int 0x13
        mov al, 0
        call status
        push 0x4000
        pop es
        xor si, si
        mov cx, 6 * 256
        call sum
        call line
        mov ax, 0x0302          ; and by cylinder, head and sector
        mov cx, 0x0205
        mov dx, 0x0180
        xor bx, bx
        int 0x13
        call status
        mov ax, 0x0202
        mov cx, 0x0205
        mov dx, 0x0180
        mov bx, 0x2000
        int 0x13
        mov si, 0x2000
        mov cx, 512
        call sum
        call line
        mov dword [packet + 8], 100000  ; beyond the end
        mov ah, 0x42
        mov si, packet
        mov dl, 0x80
        int 0x13
        pushf
        pop ax
        and ax, 1
        call hex
        call line
        push 0
        pop es
        mov di, 0
        mov ah, 8
        mov dl, 0x80
        int 0x13
        pushf
        pop ax
        and ax, 1
        call hex
        mov ax, cx
        call hex
        mov ax, dx
        call hex
        call line
        mov ah, 0x15
        mov dl, 0x80
        int 0x13
        mov al, 0
        call status
        mov ah, 0
        mov dl, 0x80
        int 0x13
        mov al, 0
        call status
        mov ax, 0x0401
        mov cx, 5
        mov dx, 0x80
        int 0x13
        mov al, 0
        call status
        call line
        push 0
        pop ds
        mov word [0x600], 26
        mov ah, 0x48
        mov si, 0x600
        mov dl, 0x80
        int 0x13
        mov al, 0
        call status
        mov ax, [0x610]
        call hex
        mov ax, [0x612]
        call hex
        mov ax, [0x618]
        call hex
        call line
        ; the screen
        push 0
        pop es
        mov ax, 0x0003
        int 0x10
        call screen
        mov si, text
        call say
        call screen
        mov ah, 2
        mov bh, 0
        mov dx, 0x174E          ; wraps into the last row, then scrolls
        int 0x10
        mov si, text
        call say
        mov si, text
        call say
        call screen
        mov ax, 0x0602          ; windows up and down, inside and at the edge, and blanked
        mov bh, 0x1E
        mov cx, 0x0305
        mov dx, 0x0A28
        int 0x10
        call screen
        mov ax, 0x0703
        mov bh, 0x2F
        mov cx, 0x0000
        mov dx, 0x184F
        int 0x10
        call screen
        mov ax, 0x0600
        mov bh, 0x70
        mov cx, 0x0B0A
        mov dx, 0x0D20
        int 0x10
        call screen
        mov ax, 0x0609          ; more lines than there are
        mov bh, 0x31
        mov cx, 0x1000
        mov dx, 0x1306
        int 0x10
        call screen
        mov ah, 2
        mov bh, 0
        mov dx, 0x0404
        int 0x10
        mov ax, 0x0941
        mov bx, 0x004C
        mov cx, 200
        int 0x10
        mov ax, 0x0A42
        mov bx, 0
        mov cx, 7
        int 0x10
        call screen
        mov ah, 8
        mov bh, 0
        int 0x10
        call hex
        mov ah, 0x0F
        mov bh, 0x55
        int 0x10
        call hex
        mov ax, bx
        and ax, 0xFF00
        call hex
        call line
        mov ah, 1
        mov cx, 0x0309
        int 0x10
        mov ax, 0x1301          ; a text, with the cursor moved, and one with attributes and without
        mov bx, 0x005A
        mov cx, 9
        mov dx, 0x014B
        mov bp, text
        int 0x10
        call screen
        mov ax, 0x1302
        mov bx, 0x0000
        mov cx, 4
        mov dx, 0x0501
        mov bp, coloured
        int 0x10
        call screen
        mov ah, 2               ; another page is written without being shown
        mov bh, 1
        mov dx, 0x0203
        int 0x10
        mov ax, 0x0943
        mov bx, 0x0107
        mov cx, 3
        int 0x10
        mov ah, 3
        mov bh, 1
        int 0x10
        mov ax, dx
        call hex
        call screen
        mov ax, 0x0501
        int 0x10
        mov ah, 0x0F
        int 0x10
        mov ax, bx
        and ax, 0xFF00
        call hex
        mov ax, [0x44E]
        call hex
        call screen
        mov ax, 0x0003
        int 0x10
        call screen
        ; memory, keys, clock
        int 0x12
        call hex
        call line
        mov ah, 1
        int 0x16
        pushf
        pop ax
        and ax, 0x40
        call hex
        mov ah, 5
        mov cx, 0x1E61
        int 0x16
        mov ah, 0
        call hex
        mov ah, 1
        int 0x16
        call hex
        mov ah, 0
        int 0x16
        call hex
        mov ah, 2
        int 0x16
        mov ah, 0
        call hex
        mov ax, 0x2402
        int 0x15
        call status
        mov ax, 0x2401
        int 0x15
        mov al, 0
        call status
        mov ah, 0x99
        int 0x15
        mov al, 0
        call status
        mov ah, 4
        int 0x1A
        pushf
        pop ax
        and ax, 1
        call hex
        sti
        mov bx, [0x46C]         ; the timer ticks
.tick:  hlt
        cmp bx, [0x46C]
        je .tick
        call line
        mov al, 0
        out 0xF4, al
        align 4
packet: dw 16, 7
        dw 8, 0x3000
        dd 130, 0
text:   db "One, two", 13, 10, "three", 8, 8, "!", 10, 7, "four", 0
coloured:
        db "a", 0x1F, "b", 0x2E, "c", 0x3D, "d", 0x4C
        times 16 * 512 - ($ - $$) db 0
