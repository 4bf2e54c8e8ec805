; self-modifying: code that writes code, and code that writes itself.
;
; To an x86 there is no difference between code and data: a store may hit an instruction
; and the next time the CPU comes there it executes what was stored. Boot loaders, old
; copy protections, just-in-time compilers and kernels that patch themselves rely on it.
; The CPU watches its own stores for that. Whoever executes guest code in another form,
; as a binary translator does, must watch them too, or it runs code that is not there any
; more.
;
; Every line prints a value that only the new code can have made.
;
; With PARAVIRT defined this becomes a kernel for a Xen-like hypervisor. Its code stays its
; own to write: nobody has made another form of it. But what it writes must suit ring 1.

bits 32
BASE            equ 0x100000        ; 1 MiB: the first address above video memory and firmware
org BASE
%define ADDR(label) (label - $$ + BASE) ; a label as a plain number that can be cut into pieces

MULTIBOOT_MAGIC equ 0x1BADB002
MULTIBOOT_FLAGS equ 1 << 16         ; "the address fields below are valid"

%ifdef PARAVIRT
KERNEL_CODE     equ 0x08 + 1        ; selectors: index in the GDT * 8 + the ring that asks:
KERNEL_DATA     equ 0x10 + 1        ; this kernel knows that it runs in ring 1
%else
KERNEL_CODE     equ 0x08            ; selectors: index in the GDT * 8 + the ring that asks
KERNEL_DATA     equ 0x10
%endif
USER_CODE       equ 0x18 + 3
USER_DATA       equ 0x20 + 3
TASK            equ 0x28

INTERRUPT_GATE  equ 0x8E            ; present, for ring 0, 32 bits, clears IF on entry
USER_GATE       equ 0xEE            ; the same, but INT may use it from ring 3
FLAG_IF         equ 1 << 9          ; EFLAGS: interrupts enabled
FLAGS_FIXED     equ 1 << 1          ; EFLAGS: this bit is always 1

; What this guest knows about machine code:
MOV_EAX_IMM     equ 0xB8            ; MOV EAX, imm32: this byte, then the number
SUB_EAX_IMM     equ 0x2D            ; SUB EAX, imm32: as long as ADD EAX, imm32
RET_NEAR        equ 0xC3
%ifdef PARAVIRT
MOV_EAX_CR0     equ 0xE001          ; SMSW EAX, 0F 01 E0: MOV EAX, CR0 is not for ring 1
%else
MOV_EAX_CR0     equ 0xC020          ; MOV EAX, CR0 is 0F 20 C0; NOP DWORD [EAX] is 0F 1F 00
%endif

ROUNDS          equ 8

%include "../common/ports.asm"

%ifdef PARAVIRT
HYPERCALL       equ 0x82            ; EAX says which, EBX, ECX, EDX have its arguments
SET_TRAP_TABLE  equ 0
SET_GDT         equ 2
STACK_SWITCH    equ 3
SCHED_OP        equ 6
UPDATE_MAPPING  equ 14
CONSOLE_IO      equ 18
IRET_CALL       equ 23
SHUTDOWN        equ 2               ; command of SCHED_OP
CONSOLE_WRITE   equ 0               ; command of CONSOLE_IO
FLUSH_PAGE      equ 2               ; forget the old entry of this page
PAGE_READ_ONLY  equ 1 + 4           ; page-table entry: present, for all rings, not writable
FRAME_LIST      equ 72              ; in the start_info page that ESI points to at the entry
MASKS_EVENTS    equ 4               ; in the trap table: entering sets the mask, as a gate clears IF
%endif

%include "../common/multiboot.asm"

; ---- Kernel code (ring 0) -----------------------------------------------------------
start:
    mov esp, kernel_stack_top       ; the loader promises no stack
    cld                             ; LODSB is to walk upwards

    ; The loader's segments work, but nobody says where their table is: bring our own.
%ifdef PARAVIRT
    call meet_hypervisor
%else
    lgdt [gdt_pointer]
%endif
    jmp KERNEL_CODE:.reload         ; CS changes only by a far transfer
.reload:
    mov ax, KERNEL_DATA
    mov ds, ax
    mov es, ax
    mov ss, ax
%ifdef PARAVIRT
    pushad
    mov ebx, idt                    ; our handlers, as a list
    mov eax, SET_TRAP_TABLE
    int HYPERCALL
    mov ebx, KERNEL_DATA            ; the stack that the CPU takes when it comes from ring 3
    mov ecx, kernel_stack_top
    mov eax, STACK_SWITCH
    int HYPERCALL
    popad
%else
    lidt [idt_pointer]
    mov ax, TASK                    ; the task register leads to the TSS, and the TSS holds
    ltr ax                          ; the stack that the CPU takes when it comes from ring 3

    ; Ring 3 is to run with IF = 1, as programs do, so silence all hardware first.
    mov al, 0xFF
    out PIC1_MASK, al
    out PIC2_MASK, al
%endif

; -- A number inside an instruction: 1 + 2 + ... + 8 --
    mov ebx, 0                      ; the sum
    mov ecx, ROUNDS
.number:
    mov eax, 1                      ; the 1 is a number in memory like any other ...
.number_end:
    add ebx, eax
    inc dword [.number_end - 4]     ; ... and grows with every round
    dec ecx
    jnz .number
    mov esi, text_number
    mov eax, ebx
    mov edx, 36
    call report
.marker_number:

; -- An instruction that becomes another: four times plus 16, then four times minus 1 --
    mov eax, 0
    mov ecx, ROUNDS
.instruction:
    cmp ecx, ROUNDS / 2
    jne .operation
    mov byte [.operation], SUB_EAX_IMM
    mov dword [.operation + 1], 1
.operation:
    add eax, strict dword 16        ; STRICT: the long form, or NASM takes a shorter one
    dec ecx
    jnz .instruction
    mov esi, text_instruction
    mov edx, 4 * 16 - 4 * 1
    call report
.marker_instruction:

; -- The very next instruction: the CPU has most likely fetched it before the store --
    mov byte [.next + 1], 0x42      ; (the byte behind the opcode is the number)
.next:
    mov al, 0x11
    movzx eax, al
    mov esi, text_next
    mov edx, 0x42
    call report
.marker_next:

; -- An innocuous instruction that becomes a privileged one --
    mov ecx, 2
.twice:
    mov eax, 0
.innocuous:
    nop dword [eax]                 ; three bytes that do nothing; no memory is read
    mov word [.innocuous + 1], MOV_EAX_CR0
    dec ecx
    jnz .twice
    and eax, 1                      ; PE, protected mode: only the new instruction has it
    mov esi, text_privileged
    mov edx, 1
    call report
.marker_privileged:

; -- A routine written into empty memory, called, and written anew --
    mov byte [buffer], MOV_EAX_IMM
    mov dword [buffer + 1], 0x11111111
    mov byte [buffer + 5], RET_NEAR
    call buffer
    mov ebx, eax
    mov dword [buffer + 1], 0x22222222
    call buffer
    add eax, ebx                    ; both have run
    mov esi, text_buffer
    mov edx, 0x33333333
    call report
.marker_buffer:

; -- One routine after another copied to the same place by a string instruction --
    mov esi, template_a
    mov edi, buffer
    mov ecx, template_b - template_a
    rep movsb
    call buffer
    mov ebx, eax
    mov esi, template_b
    mov edi, buffer
    mov ecx, templates_end - template_b
    rep movsb
    call buffer
    or eax, ebx                     ; one half from each
    mov esi, text_copied
    mov edx, 0xAAAABBBB
    call report
.marker_copied:

; -- An instruction across two pages: its number lies two bytes before, two behind --
    mov byte [border - 3], MOV_EAX_IMM
    mov byte [border + 2], RET_NEAR
    call border - 3
    mov word [border], 0x1234       ; the upper half, on the second page
    call border - 3
    mov esi, text_border
    mov edx, 0x12340000
    call report
    mov word [border - 2], 0x5678   ; the lower half, on the first page
    call border - 3
    mov esi, text_border_again
    mov edx, 0x12345678
    call report
.marker_border:

; -- The same in ring 3 --
    ; DS and ES become user data now and stay so in the kernel as well: both kinds of
    ; segment are flat, and a handler that loads no segments is a shorter one.
    mov ax, USER_DATA
    mov ds, ax
    mov es, ax

    ; There is no "go to ring 3". There is only "return to ring 3": build the frame
    ; that an interrupt from there would have left, and IRET through it.
    push dword USER_DATA            ; SS
    push dword user_stack_top       ; ESP
    push dword FLAG_IF | FLAGS_FIXED ; EFLAGS
    push dword USER_CODE            ; CS: its low two bits say ring 3
    push dword user_program         ; EIP
%ifdef PARAVIRT
    push eax                        ; this kind of IRET wants EAX as well
    mov eax, IRET_CALL
    int HYPERCALL
%else
    iretd
%endif

; INT 0x80: the program is done; its result is in EBX.
system_call:
    cld                             ; the program may have left DF in any state
.marker_back:
    mov esi, text_user
    mov eax, ebx
    mov edx, 1 + 2 + 4 + 8 + 16 + 32 + 64 + 128
    call report

    cmp dword [wrong], 0
    setne al                        ; 0 if every value was the new code's
.marker_told:
%ifdef PARAVIRT
    jmp shut_down
%else
    out EXIT_PORT, al
    jmp halt
%endif

; Print the text at ESI and the value in EAX; if that is not the one in EDX, remember it.
; Changes EAX, ECX, EDX and ESI.
report:
    mov ecx, eax
    xor edx, eax
    or [wrong], edx                 ; no branch: the way is the same whatever the value
    call print
    mov eax, ecx
    mov ecx, 8
    call print_hex
    mov al, 10
    jmp putc

; Two routines of the same length that only ever run as copies.
template_a:
    mov eax, 0xAAAA0000
    ret
template_b:
    mov eax, 0x0000BBBB
    ret
templates_end:

%include "../common/panic.asm"

%ifdef PARAVIRT
; Have the segments checked. ESI: the start_info page. Changes no register.
meet_hypervisor:
    pushad
    ; The hypervisor wants to read our GDT first, and nobody may change it afterwards:
    ; give up the right to write to its page, then name the page's machine frame.
    mov ecx, [esi + FRAME_LIST]     ; the frames we have, in the order of our pages
    mov ecx, [ecx + 4 * (ADDR(gdt) >> 12)]
    mov [gdt_frame], ecx
    shl ecx, 12
    or ecx, PAGE_READ_ONLY
    mov ebx, gdt
    mov edx, FLUSH_PAGE
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

%include "../common/print.asm"
%include "../common/print_hex.asm"
%include "../common/putc.asm"

; ---- User code (ring 3) -------------------------------------------------------------
align 4096
user_program:
    mov ebx, 0                      ; the sum
    mov ecx, ROUNDS
.number:
    add ebx, strict dword 1         ; 1, 2, 4, ... 128
.number_end:
    shl dword [.number_end - 4], 1  ; a program may patch itself: no ring is needed
    dec ecx
    jnz .number
    int 0x80
.after_exit:
    jmp .after_exit

; ---- Data: never on a page with code ------------------------------------------------
align 4096, db 0
wrong:
    dd 0                            ; bits in which a value was not what it should be

text_number:
    db "A number in an instruction, 1 to 8, summed    ", 0
text_instruction:
    db "ADD that turned into SUB half-way             ", 0
text_next:
    db "The very next instruction, patched            ", 0
text_privileged:
    db "NOP that turned into MOV EAX, CR0: PE         ", 0
text_buffer:
    db "A routine written twice, both answers added   ", 0
text_copied:
    db "Two routines copied to one place, one by one  ", 0
text_border:
    db "An instruction across two pages, second half  ", 0
text_border_again:
    db "... and then the first half                   ", 0
text_user:
    db "A program that patches itself in ring 3, sum  ", 0
text_panic:
    db "PANIC: an exception nobody expected.", 10, 0
hex_digits:
    db "0123456789ABCDEF"

align 4
%ifdef PARAVIRT
gdt_frame:
    dd 0                            ; the machine frame that the table is in
%else
gdt_pointer:
    dw gdt_end - gdt - 1            ; limit: the last valid byte
    dd gdt
    dw 0                            ; keeps the next one aligned
idt_pointer:
    dw idt_end - idt - 1
    dd idt
%endif

; ---- Global descriptor table, on a page of its own ----------------------------------
; A VMM that keeps a shadow of this table must notice every write to it, and it can
; only watch whole pages. For the same reason the Accessed bit (bit 0 of the type) is
; already set: the CPU would otherwise write it here on the first load of a segment.
align 4096, db 0
gdt:
    dq 0                            ; selector 0 is never valid
%ifdef PARAVIRT
    dq 0x00CFBB000000FFFF           ; 0x08 ring 1 code: base 0, as far as the hypervisor lets it
    dq 0x00CFB3000000FFFF           ; 0x10 ring 1 data: likewise
%else
    dq 0x00CF9B000000FFFF           ; 0x08 ring 0 code: base 0, 4 GiB, execute/read
    dq 0x00CF93000000FFFF           ; 0x10 ring 0 data: base 0, 4 GiB, read/write
%endif
    dq 0x00CFFB000000FFFF           ; 0x18 ring 3 code
    dq 0x00CFF3000000FFFF           ; 0x20 ring 3 data
%ifdef PARAVIRT
    dq 0                            ; 0x28 the TSS is the hypervisor's
%else
    dw tss_end - tss - 1            ; 0x28 the TSS: limit 15:0
    dw ADDR(tss) & 0xFFFF           ;      base 15:0
    db (ADDR(tss) >> 16) & 0xFF     ;      base 23:16
    db 0x89                         ;      present, ring 0, 32-bit TSS, not busy
    db 0                            ;      limit 19:16, counted in bytes
    db ADDR(tss) >> 24              ;      base 31:24
%endif
gdt_end:

%ifdef PARAVIRT
; ---- Trap table: the same as a list, for the hypervisor -----------------------------
%macro trap 3                       ; vector, for which ring and how, handler
    db %1, %2
    dw KERNEL_CODE
    dd %3
%endmacro

align 4096, db 0
idt:
%assign vector 0
%rep 32
    trap vector, MASKS_EVENTS, panic
%assign vector vector + 1
%endrep
    trap 0x80, 3 + MASKS_EVENTS, system_call ; ring 3 may
    trap 0, 0, 0                    ; the end
%else
; ---- Interrupt descriptor table -----------------------------------------------------
%macro gate 2                       ; handler, type
    dw ADDR(%1) & 0xFFFF            ; offset 15:0
    dw KERNEL_CODE                  ; handlers run in ring 0
    db 0, %2
    dw ADDR(%1) >> 16               ; offset 31:16
%endmacro

align 4096, db 0
idt:
%rep 32
    gate panic, INTERRUPT_GATE
%endrep
    times (0x80 - 32) dq 0          ; not present
    gate system_call, USER_GATE     ; the only gate that INT may use from ring 3
idt_end:
%endif

%ifdef PARAVIRT
align 4096, db 0
    times 4096 db 0                 ; where the TSS is on bare metal, so that all else lies alike
%else
; ---- Task state segment, on a page of its own ---------------------------------------
; The CPU reads one thing here: the stack to use when it comes from ring 3 to ring 0.
align 4096, db 0
tss:
    dd 0                            ; previous task: unused
    dd kernel_stack_top             ; ESP0
    dd KERNEL_DATA                  ; SS0
    times 22 dd 0                   ; the rest is for task switches, which nobody uses
    dw 0
    dw tss_end - tss                ; I/O bitmap behind the limit: ring 3 gets no ports
tss_end:
%endif
image_end:

; ---- Memory that needs no place in the file -----------------------------------------
section .bss nobits align=4096
    resb 4096
kernel_stack_top:
    resb 4096
user_stack_top:
buffer:                             ; where code will be written
    resb 4096
border:                             ; and a page behind it
    resb 4096
memory_end:

