; forkwait: how dear it is to make processes.
;
; A process forks a child that ends at once, waits for it, and does it again. There is hardly
; anything to compute, so nearly all that happens is a kernel's work on its page tables: make an
; address space, share every page in it, load CR3, copy the page that somebody writes to, and
; take it all apart again. It is the dearest thing that one can ask of a VMM that has to know the
; guest's page tables, and the benchmark with which Adams and Agesen showed in 2006 that hardware
; had not made virtual machines fast.
;
; The operating system is teachos, from its own folder; init starts this program in the place of
; the shell. The clock is off: a second of this machine is a million instructions, so ticks would
; come a thousand times as often, between instructions, as on a real computer, and would be most
; of what is measured.

%define FIRST_PROGRAM "forkwait"
%define OWN_PAGES 2
%define NO_DISK
%define NO_CLOCK
%macro OWN_PROGRAMS 0
    program "forkwait", forkwait
%endmacro
%include "../teachos/guest.asm"

PROCESS_PAGES   equ 32              ; of heap: an address space should have something in it
WARM_UP         equ 2               ; children before anything is counted: caches, translations
CHILDREN        equ 40              ; children that are counted

section .user
align PAGE_BYTES, db 0

forkwait:
    mov edi, HEAP
    mov ecx, PROCESS_PAGES
.touch:
    mov [edi], ecx                  ; the page comes now
    add edi, PAGE_BYTES
    dec ecx
    jnz .touch
    mov edi, WARM_UP
    call children
.marker_begin:
    mov edi, CHILDREN
    call children
.marker_end:
    mov esi, forkwait_done
    call say
    mov eax, CHILDREN
    call say_number
    mov esi, forkwait_children
    call say
    xor ebx, ebx
    ask_kernel SYS_EXIT
.failed:
    mov esi, forkwait_failed
    call say
    mov ebx, 1
    ask_kernel SYS_EXIT

; Fork EDI children, one after the other, and wait for each. Every call of the kernel is a call
; of a routine, as in a program with a library: so both processes write to the page of stack that
; they share after the fork. The child copies it; the parent has it for itself by the time.
children:
    call fork_library
    test eax, eax
    jz .child
    cmp eax, FAILED
    je forkwait.failed
    call wait_library
    cmp edx, edi                    ; what the child has ended with
    jne forkwait.failed
    dec edi
    jnz children
    ret
.child:
    call exit_library

fork_library:
    ask_kernel SYS_FORK
    ret

wait_library:                       ; EAX: for whom
    push ebx
    mov ebx, eax
    ask_kernel SYS_WAIT
    pop ebx
    ret

exit_library:                       ; EDI: with what
    mov ebx, edi
    ask_kernel SYS_EXIT

align PAGE_BYTES, db 0              ; texts: never on a page with code
forkwait_done:      db "forked and waited for ", 0
forkwait_children:  db " children", 10, 0
forkwait_failed:    db "A CHILD IS MISSING", 10, 0
times USER_TEXT_BYTES - ($ - $$) db 0
