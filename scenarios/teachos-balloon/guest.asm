; teachos-balloon: an operating system that gives memory back while its programs run.
;
; A program has children, one after the other. Each fills half of its heap, sleeps, and looks
; whether all is still there. Meanwhile a VMM wants more and more of the memory, and then less:
; the kernel's balloon driver takes free frames, tells the VMM which, and has them back later.
; The children cannot tell. Without a balloon the driver finds none, and they say the same.
;
; The operating system is teachos, from its own folder; the driver is in its section 8.

%define FIRST_PROGRAM "tenant"
%define OWN_PAGES 2
%define NO_DISK
%define BALLOON
%macro OWN_PROGRAMS 0
    program "tenant", tenant
%endmacro
%include "../teachos/guest.asm"

CHILDREN        equ 8
CHILD_PAGES     equ 32              ; of heap
NAP             equ 3               ; ticks

section .user
align PAGE_BYTES, db 0

tenant:
    mov edi, 1                      ; which child
.child:
    ask_kernel SYS_FORK
    test eax, eax
    jz fill
    cmp eax, FAILED
    je .failed
    mov ebx, eax
    ask_kernel SYS_WAIT
    cmp edx, edi                    ; what it has ended with: its number, if all went well
    jne .failed
    mov esi, tenant_child
    call say
    mov eax, edi
    call say_number
    mov esi, tenant_kept
    call say
    inc edi
    cmp edi, CHILDREN
    jbe .child
    xor ebx, ebx
    ask_kernel SYS_EXIT
.failed:
    mov esi, tenant_failed
    call say
    mov ebx, 1
    ask_kernel SYS_EXIT

; Child EDI: every page gets a number of its own, at both ends.
fill:
    mov ebp, HEAP
    mov esi, CHILD_PAGES
    mov eax, edi
    imul eax, 0x01000193
.page:
    mov [ebp], eax                  ; the page comes now
    mov [ebp + PAGE_BYTES - 4], eax
    add eax, 0x9E3779B9
    add ebp, PAGE_BYTES
    dec esi
    jnz .page
    mov ebx, NAP
    ask_kernel SYS_SLEEP
    mov ebp, HEAP
    mov esi, CHILD_PAGES
    mov eax, edi
    imul eax, 0x01000193
.look:
    cmp [ebp], eax
    jne .lost
    cmp [ebp + PAGE_BYTES - 4], eax
    jne .lost
    cmp dword [ebp + 4], 0          ; nobody else has been here before, as far as one can see
    jne .lost
    add eax, 0x9E3779B9
    add ebp, PAGE_BYTES
    dec esi
    jnz .look
    mov ebx, edi
    ask_kernel SYS_EXIT
.lost:
    mov ebx, 255
    ask_kernel SYS_EXIT

align PAGE_BYTES, db 0              ; texts: never on a page with code
tenant_child:   db "child ", 0
tenant_kept:    db ": every page held what it had written", 10, 0
tenant_failed:  db "A PAGE IS LOST", 10, 0
times USER_TEXT_BYTES - ($ - $$) db 0
