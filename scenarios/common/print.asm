; Print the text at ESI, up to its zero byte. Changes EAX and ESI.
%ifdef PARAVIRT
print:                              ; the whole text in one call
    push edx
    mov edx, esi                    ; where it begins
.measure:
    lodsb
    test al, al
    jnz .measure
    pushad
    lea ecx, [esi - 1]
    sub ecx, edx                    ; how long it is
    mov ebx, CONSOLE_WRITE
    mov eax, CONSOLE_IO
    int HYPERCALL
    popad
    pop edx
    ret
%else
print:
    lodsb
    test al, al
    jz .done
    call putc
    jmp print
.done:
    ret
%endif
