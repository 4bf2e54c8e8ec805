; Send the character in AL. Changes no register.
putc:
%ifdef PARAVIRT
    pushad
    push eax
    mov edx, esp                    ; the character is a text of length 1
    mov ecx, 1
    mov ebx, CONSOLE_WRITE
    mov eax, CONSOLE_IO
    int HYPERCALL
    pop eax
    popad
    ret
%else
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
%endif
