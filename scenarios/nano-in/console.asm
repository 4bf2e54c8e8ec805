; What every nano guest has to say something on the serial line.

; Print the text at ESI, up to its zero byte. Changes EAX and ESI.
print:
    lodsb
    test al, al
    jz .done
    call putc
    jmp print
.done:
    ret

; Print EAX in decimal. Changes no register.
print_decimal:
    pushad
    mov ebx, 10
    mov ecx, 0                      ; digits on the stack
.divide:                            ; the last digit comes out first,
    mov edx, 0
    div ebx
    push edx
    inc ecx
    test eax, eax
    jnz .divide
.digit:                             ; so the stack turns them round
    pop eax
    add al, '0'
    call putc
    dec ecx
    jnz .digit
    popad
    ret

; Send the character in AL. Changes no register.
putc:
    push edx
    push eax
    mov edx, COM1_LINE_STAT
.wait:
    in al, dx
    test al, STAT_ROOM
    jz .wait
    pop eax
    mov edx, COM1
    out dx, al
    pop edx
    ret
