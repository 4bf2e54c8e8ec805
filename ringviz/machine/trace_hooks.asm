; What Unicorn calls for every block and every load and store of a run that is traced, in the machine code of the host
; (x86-64, System V ABI). trace_hooks.py holds the assembled bytes; a test assembles this file again and compares.
;
; Most accesses go where the last one of their kind went, and change nothing in a TLB. Those end here; the others go on
; to Python.

bits 64

; The context, in 8-byte slots; trace_hooks.py names the same slots
%define QUIET       8*0   ; a byte for each page of RAM: is a load or store there nothing new?
%define PAGES       8*1   ; how many
%define PASSED      8*2   ; loads and stores that ended here
%define ON_ACCESS   8*3   ; who takes the others
%define CODE_PAGE   8*4   ; linear page in which a block is nothing new, or -1
%define ON_BLOCK    8*5   ; who takes the others

access:                             ; rdi engine, esi kind, rdx address, ecx size, r8 value, r9 context
    mov rax, rdx
    shr rax, 12
    cmp rax, [r9+PAGES]
    jae .tell
    mov r10, [r9+QUIET]
    cmp byte [r10+rax], 0
    je .tell
    mov eax, edx
    and eax, 0xFFF
    add eax, ecx
    cmp eax, 0x1000                 ; across the end of the page: two at once
    ja .tell
    inc qword [r9+PASSED]
    ret
.tell:
    jmp [r9+ON_ACCESS]
    align 16, db 0x90

block:                              ; rdi engine, rsi address, edx length, rcx context
    mov edx, edx
    mov rax, rsi
    shr rax, 12
    cmp rax, [rcx+CODE_PAGE]
    jne .tell
    lea r8, [rsi+rdx-1]
    shr r8, 12
    cmp r8, rax
    jne .tell
    ret
.tell:
    jmp [rcx+ON_BLOCK]
