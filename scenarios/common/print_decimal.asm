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
