; Print the last ECX hexadecimal digits of EAX, 1 to 8 of them. Changes no register.
print_hex:
    pushad
    mov edx, eax
    mov ebx, ecx                    ; digits to go
    neg ecx
    lea ecx, [ecx * 4 + 32]
    shl edx, cl                     ; the first wanted digit is now at the top
.digit:
    rol edx, 4
    mov eax, edx
    and eax, 15
    mov al, [hex_digits + eax]
    call putc
    dec ebx
    jnz .digit
    popad
    ret
