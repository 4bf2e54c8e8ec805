%ifdef PARAVIRT
; Find the shared page, and have the segments checked. ESI: the start_info page. Changes
; no register.
meet_hypervisor:
    pushad
    mov ebx, shared_info            ; the page that we share appears where we want it
    mov ecx, [esi + SHARED_FRAME]
    or ecx, PAGE_WRITABLE
    mov edx, FLUSH_PAGE
    mov eax, UPDATE_MAPPING
    int HYPERCALL

    ; The hypervisor wants to read our GDT first, and nobody may change it afterwards:
    ; give up the right to write to its page, then name the page's machine frame.
    mov ecx, [esi + FRAME_LIST]     ; the frames we have, in the order of our pages
    mov ecx, [ecx + 4 * (ADDR(gdt) >> 12)]
    mov [gdt_frame], ecx
    shl ecx, 12
    or ecx, PAGE_READ_ONLY
    mov ebx, gdt
    mov eax, UPDATE_MAPPING
    int HYPERCALL
    mov ebx, gdt_frame              ; a list of one frame
    mov ecx, (gdt_end - gdt) / 8
    mov eax, SET_GDT
    int HYPERCALL
    popad
    ret

; End the run with the exit code that AL makes.
shut_down:
    movzx ecx, al
    mov ebx, SHUTDOWN
    mov eax, SCHED_OP
    int HYPERCALL
    jmp halt
%endif
