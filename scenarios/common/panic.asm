; Any exception that this kernel did not plan for.
panic:
    mov esi, text_panic
    call print
    mov al, EXIT_PANIC
%ifdef PARAVIRT
    call shut_down
%else
    out EXIT_PORT, al
%endif
halt:                               ; only reached where there is no exit port
    hlt
    jmp halt
