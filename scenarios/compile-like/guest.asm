; compile-like: mostly computing, now and then a kernel.
;
; What a build of a larger program does: a process for each unit, one after the other. Each reads
; a source text, cuts it into words, keeps its names in a hash table, translates it into code, all
; in memory that it touches for the first time, and says so; here it runs the code, too, so that
; there is something to check. Nearly all of it happens in ring 3, where a VMM has nothing to do;
; system calls, page faults on fresh memory and a fork for each unit are what it hears of.
;
; The operating system is teachos, from its own folder; init starts this program in the place of
; the shell. The source text comes with the program, as from a cache: a disk that hands over two
; bytes at a time by port would be the larger part of all. The clock is off, as in forkwait.

%define FIRST_PROGRAM "make"
%define OWN_PAGES 3
%define NO_DISK
%define NO_CLOCK
%macro OWN_PROGRAMS 0
    program "make", make
%endmacro
%include "../teachos/guest.asm"

UNITS           equ 4               ; processes that are counted, after one that warms up
TEXTS           equ 10              ; texts that each of them compiles: the same one, into fresh memory
UNIT_BYTES      equ 6 * PAGE_BYTES  ; memory for one text:
NAMES           equ 0               ; a table of names, by hash
NAMES_COUNT     equ 256
CODE            equ NAMES_COUNT * NAME_BYTES ; and the code, up to the end

NAME_TEXT       equ 0               ; where it stands in the source; 0: this place is free
NAME_LENGTH     equ 4
NAME_VALUE      equ 8
NAME_BYTES      equ 16

OP_END          equ 0               ; code for a machine with a stack: a byte, and for the last three
OP_ADD          equ 1               ; four more
OP_SUBTRACT     equ 2
OP_MULTIPLY     equ 3
OP_NUMBER       equ 4
OP_LOAD         equ 5               ; the value of a name
OP_STORE        equ 6

section .user
align PAGE_BYTES, db 0

make:
    xor esi, esi                    ; the sum of what the units find
    mov edi, 1
    call build
    xor esi, esi
.marker_begin:
    mov edi, UNITS
    call build
.marker_end:
    mov eax, esi
    push eax
    mov esi, make_done
    call say
    mov eax, UNITS * TEXTS
    call say_number
    mov esi, make_texts
    call say
    pop eax
    call say_number
    call say_newline
    xor ebx, ebx
    ask_kernel SYS_EXIT
.failed:
    mov esi, make_failed
    call say
    mov ebx, 1
    ask_kernel SYS_EXIT

; Have EDI units compiled, each by a process of its own; adds to ESI what they end with.
build:
    ask_kernel SYS_FORK
    test eax, eax
    jz compile_unit
    cmp eax, FAILED
    je make.failed
    mov ebx, eax
    ask_kernel SYS_WAIT
    cmp edx, KILLED
    je make.failed
    add esi, edx
    dec edi
    jnz build
    ret

compile_unit:
    mov ebp, HEAP
    xor ebx, ebx
.text:
    push ebx
    call compile
    call execute
    pop ebx
    add ebx, eax
    add ebp, UNIT_BYTES
    cmp ebp, HEAP + TEXTS * UNIT_BYTES
    jb .text
    push ebx
    mov esi, make_progress
    call say
    pop ebx
    ask_kernel SYS_EXIT

; Translate the source text. EBP: memory for it, all zeros.
compile:
    mov esi, program_text
    lea edi, [ebp + CODE]
.statement:
    cmp byte [esi], 0
    je .end
    call read_name
    push eax
    call skip_spaces
    inc esi                         ; =
    call expression
    mov byte [edi], OP_STORE
    pop dword [edi + 1]
    add edi, 5
    inc esi                         ; the end of the line
    jmp .statement
.end:
    mov byte [edi], OP_END
    ret

; Sums and differences of products. ESI: where the source is read, EDI: where the code goes.
expression:
    call product
.next:
    call skip_spaces
    mov al, [esi]
    mov ebx, OP_ADD
    cmp al, '+'
    je .operator
    mov ebx, OP_SUBTRACT
    cmp al, '-'
    je .operator
    ret
.operator:
    inc esi
    push ebx
    call product
    pop ebx
    mov [edi], bl
    inc edi
    jmp .next

product:
    call factor
.next:
    call skip_spaces
    cmp byte [esi], '*'
    jne .done
    inc esi
    call factor
    mov byte [edi], OP_MULTIPLY
    inc edi
    jmp .next
.done:
    ret

; A number, a name, or an expression in parentheses.
factor:
    call skip_spaces
    movzx eax, byte [esi]
    cmp al, '('
    je .parenthesis
    cmp al, '9'
    jbe .number
    call read_name
    mov byte [edi], OP_LOAD
    jmp .operand
.number:
    xor edx, edx
.digit:
    imul edx, 10
    lea edx, [edx + eax - '0']
    inc esi
    movzx eax, byte [esi]
    cmp al, '0'
    jb .end
    cmp al, '9'
    jbe .digit
.end:
    mov eax, edx
    mov byte [edi], OP_NUMBER
.operand:
    mov [edi + 1], eax
    add edi, 5
    ret
.parenthesis:
    inc esi
    call expression
    inc esi
    ret

; Find the name at ESI in the table, or put it there. Returns its place in EAX.
read_name:
    mov ebx, esi
    mov eax, 0x811C9DC5             ; FNV-1a: a hash of all letters
.letter:
    movzx edx, byte [esi]
    cmp dl, 'a'
    jb .end
    xor eax, edx
    imul eax, 0x01000193
    inc esi
    jmp .letter
.end:
    mov ecx, esi
    sub ecx, ebx                    ; how long it is
    movzx edx, al
    shl edx, 4                      ; NAME_BYTES
.probe:
    lea eax, [ebp + NAMES + edx]
    cmp dword [eax + NAME_TEXT], 0
    je .new
    cmp [eax + NAME_LENGTH], ecx
    jne .other
    save esi, edi, ecx
    mov esi, ebx
    mov edi, [eax + NAME_TEXT]
    repe cmpsb
    restore esi, edi, ecx
    je .done
.other:
    add edx, NAME_BYTES
    and edx, (NAMES_COUNT - 1) * NAME_BYTES
    jmp .probe
.new:
    mov [eax + NAME_TEXT], ebx
    mov [eax + NAME_LENGTH], ecx
.done:
    ret

; Run the code. Returns in EAX the sum of what all names have in the end.
execute:
    lea esi, [ebp + CODE]
.next:
    movzx eax, byte [esi]
    inc esi
    jmp [operations + eax * 4]
.number:
    lodsd
    push eax
    jmp .next
.load:
    lodsd
    push dword [eax + NAME_VALUE]
    jmp .next
.store:
    lodsd
    pop dword [eax + NAME_VALUE]
    jmp .next
.add:
    pop eax
    add [esp], eax
    jmp .next
.subtract:
    pop eax
    sub [esp], eax
    jmp .next
.multiply:
    pop eax
    imul eax, [esp]
    mov [esp], eax
    jmp .next
.end:
    xor eax, eax
    lea edx, [ebp + NAMES]
    mov ecx, NAMES_COUNT
.add_up:
    add eax, [edx + NAME_VALUE]
    add edx, NAME_BYTES
    dec ecx
    jnz .add_up
    ret

align PAGE_BYTES, db 0              ; texts and tables: never on a page with code
operations:                         ; by number
    dd execute.end, execute.add, execute.subtract, execute.multiply
    dd execute.number, execute.load, execute.store
make_progress:      db ".", 0
make_done:          db 10, "compiled and run ", 0
make_texts:         db " texts; all values add up to ", 0
make_failed:        db "A UNIT IS MISSING", 10, 0
program_text:
    incbin "program.txt"
    db 0
times USER_TEXT_BYTES - ($ - $$) db 0
