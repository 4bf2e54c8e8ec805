; rings-tour: a program in ring 3 tries what only ring 0 may do.
;
; The kernel sets up its tables, enters ring 3 and waits. The program then executes
; CLI, HLT, IN, MOV to CR0 and LGDT. At ring 3 the CPU refuses each of them with a
; general-protection exception (#GP, vector 13) and enters the kernel's handler on
; the kernel's stack. The handler reports what it caught, steps the program over the
; instruction and returns. At the end the program leaves through INT 0x80.
;
; With PARAVIRT defined this becomes a kernel for a Xen-like hypervisor. The program does
; not change; its faults go to the hypervisor in ring 0 first, which hands them to this
; kernel in ring 1.

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
USER_TRAP_GATE  equ 0xEF            ; present, for ring 3 too, 32 bits, leaves IF alone
FLAG_IF         equ 1 << 9          ; EFLAGS: interrupts enabled
FLAGS_FIXED     equ 1 << 1          ; EFLAGS: this bit is always 1

%include "../common/ports.asm"

%ifdef PARAVIRT
HYPERCALL       equ 0x82            ; EAX says which, EBX, ECX, EDX have its arguments
SET_TRAP_TABLE  equ 0
SET_GDT         equ 2
STACK_SWITCH    equ 3
SCHED_OP        equ 6
MULTICALL       equ 13
UPDATE_MAPPING  equ 14
CONSOLE_IO      equ 18
IRET_CALL       equ 23
SHUTDOWN        equ 2               ; command of SCHED_OP
CONSOLE_WRITE   equ 0               ; command of CONSOLE_IO
FLUSH_PAGE      equ 2               ; forget the old entry of this page
PAGE_READ_ONLY  equ 1 + 4           ; page-table entry: present, for all rings, not writable
PAGE_WRITABLE   equ 1 + 2 + 4
SHARED_FRAME    equ 36              ; in the start_info page that ESI points to at the entry
FRAME_LIST      equ 72
UPCALL_MASK     equ 1               ; in the shared page: 1 is what IF = 0 is on bare metal
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
    mov ebx, batch                  ; handlers and kernel stack, two calls for the price of one
    mov ecx, 2
    mov eax, MULTICALL
    int HYPERCALL
    popad
%else
    lidt [idt_pointer]
    mov ax, TASK                    ; the task register leads to the TSS, and the TSS holds
    ltr ax                          ; the stack that the CPU takes when it comes from ring 3

    ; Ring 3 is to run with IF = 1, as programs do, so silence all hardware first:
    ; this tour shows faults, and a timer tick would only be in the way.
    mov al, 0xFF
    out PIC1_MASK, al
    out PIC2_MASK, al
%endif

    mov esi, text_welcome
    call print

    ; DS and ES become user data now and stay so in the kernel as well: both kinds of
    ; segment are flat, and a handler that loads no segments has less to get wrong.
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
    jmp return_from_interrupt
%else
    iretd
%endif

; #GP, vector 13. On the stack: error code, then EIP, CS, EFLAGS, ESP, SS of the program.
general_protection:
    pushad                          ; 8 registers, 32 bytes: the error code is now above them
    cld                             ; the program may have left DF in any state
    mov ebx, [esp + 36]             ; EIP: a fault points AT the instruction, not behind it

    mov edi, attempts               ; which one was it?
.search:
    cmp edi, attempts_end
    je panic                        ; a fault that this tour did not plan
    cmp [edi + ATTEMPT_ADDRESS], ebx
    je .found
    add edi, ATTEMPT_BYTES
    jmp .search
.found:
.marker_found:
    mov esi, [edi + ATTEMPT_NAME]
    call print
    mov esi, text_from_ring
    call print
    mov eax, [esp + 40]             ; CS of the program
    and eax, 3                      ; its low two bits are the ring
    mov ecx, 1
    call print_hex
    mov esi, text_selector
    call print
    mov eax, [esp + 40]
    mov ecx, 4
    call print_hex
    mov esi, text_error_code
    call print
    mov eax, [esp + 32]             ; the error code; 0: no selector was at fault
    mov ecx, 4
    call print_hex
    mov al, 10
    call putc

    inc dword [faults]
    mov eax, [edi + ATTEMPT_LENGTH] ; step over it, or it would fault for ever
    add [esp + 36], eax
    popad
    add esp, 4                      ; IRET expects the error code gone
%ifdef PARAVIRT
return_from_interrupt:
    push eax                        ; this kind of IRET wants EAX as well, and unlike a plain
    mov eax, IRET_CALL              ; one of ring 1 it does as the frame says about IF
    int HYPERCALL
%else
    iretd
%endif

; INT 0x80, the way out. On the stack: EIP, CS, EFLAGS, ESP, SS of the program.
system_call:
    cld
.marker_goodbye:
    mov esi, text_back
    call print
    mov eax, [faults]
    mov ecx, 1
    call print_hex
    mov esi, text_summary
    call print

    mov eax, [faults]
    sub eax, ATTEMPTS               ; 0 if every attempt was caught
.marker_told:
%ifdef PARAVIRT
    jmp shut_down
%else
    out EXIT_PORT, al
    jmp halt
%endif

%include "../common/panic.asm"
%include "../common/meet_hypervisor.asm"
%include "../common/print.asm"
%include "../common/print_hex.asm"
%include "../common/putc.asm"

; ---- User code (ring 3) -------------------------------------------------------------
align 4096
user_program:
try_cli:
    cli                             ; stop all interrupts?
try_hlt:
    hlt                             ; stop the CPU?
try_in:
    in al, 0x60                     ; read the keyboard behind the kernel's back?
try_mov_cr0:
    mov cr0, eax                    ; change the mode of the CPU?
try_lgdt:
    lgdt [gdt_pointer]              ; bring its own segments?
give_up:
    mov eax, 1                      ; "exit", as on many a Unix
    int 0x80                        ; the one door that is open to ring 3
after_exit:
    jmp after_exit

; ---- Data: never on a page with code ------------------------------------------------
align 4096, db 0
faults:
    dd 0                            ; attempts caught so far

; What the handler knows about each attempt: where, how long, and its name.
ATTEMPT_ADDRESS equ 0
ATTEMPT_LENGTH  equ 4
ATTEMPT_NAME    equ 8
ATTEMPT_BYTES   equ 12
attempts:
    dd try_cli,     try_hlt - try_cli,       name_cli
    dd try_hlt,     try_in - try_hlt,        name_hlt
    dd try_in,      try_mov_cr0 - try_in,    name_in
    dd try_mov_cr0, try_lgdt - try_mov_cr0,  name_mov_cr0
    dd try_lgdt,    give_up - try_lgdt,      name_lgdt
attempts_end:
ATTEMPTS        equ (attempts_end - attempts) / ATTEMPT_BYTES

name_cli:       db "CLI         ", 0
name_hlt:       db "HLT         ", 0
name_in:        db "IN AL, 0x60 ", 0
name_mov_cr0:   db "MOV CR0, EAX", 0
name_lgdt:      db "LGDT        ", 0

text_welcome:
    db "Kernel in ring 0. Entering ring 3.", 10, 0
text_from_ring:
    db " -> #GP from ring ", 0
text_selector:
    db " (CS ", 0
text_error_code:
    db "), error code ", 0
text_back:
    db "The program says goodbye through INT 0x80.", 10, 0
text_summary:
    db " attempts, every one of them caught: ring 3 could do no harm.", 10, 0
text_panic:
    db "PANIC: an exception nobody expected.", 10, 0
hex_digits:
    db "0123456789ABCDEF"

align 4
%ifdef PARAVIRT
gdt_frame:
    dd 0                            ; the machine frame that the table is in
gdt_pointer:                        ; nobody reads it: the program's LGDT is to fault
    dw 0
    dd 0

batch:                              ; number, room for the answer, six arguments
    dd SET_TRAP_TABLE, 0, idt, 0, 0, 0, 0, 0
    dd STACK_SWITCH, 0, KERNEL_DATA, kernel_stack_top, 0, 0, 0, 0
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
%rep 13
    trap vector, MASKS_EVENTS, panic
%assign vector vector + 1
%endrep
    trap 13, MASKS_EVENTS, general_protection
%assign vector 14
%rep 18
    trap vector, MASKS_EVENTS, panic
%assign vector vector + 1
%endrep
    trap 0x80, 3, system_call       ; ring 3 may, and the mask stays: a gate can do that alone
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
%rep 13
    gate panic, INTERRUPT_GATE
%endrep
    gate general_protection, INTERRUPT_GATE
%rep 18
    gate panic, INTERRUPT_GATE
%endrep
    times (0x80 - 32) dq 0          ; not present
    gate system_call, USER_TRAP_GATE ; the only gate that INT may use from ring 3
idt_end:
%endif

%ifdef PARAVIRT
; ---- The page that we share with the hypervisor -------------------------------------
align 4096, db 0
shared_info:
    times 4096 db 0                 ; it is mapped over these
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
memory_end:

