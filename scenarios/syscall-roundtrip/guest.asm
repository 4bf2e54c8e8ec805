; syscall-roundtrip: a program in ring 3 asks the kernel the same question 1,000 times.
;
; INT 0x80 is the classic door to a kernel. On the way in the CPU changes ring (3 to 0)
; and stack (the program's to the kernel's, found in the TSS) and saves where it came
; from; on the way out IRET undoes all three. Nothing is printed between the trips, so
; what you see is the price of the door itself.
;
; With PARAVIRT defined this becomes a kernel for a Xen-like hypervisor. The program does
; not change at all. The kernel runs in ring 1 and asks for what only ring 0 may do, but
; the door itself needs nobody's help: the hypervisor puts a gate of ours into its table.

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

SYS_EXIT        equ 1               ; system calls, by the number in EAX
SYS_GETPID      equ 20
PROCESS_ID      equ 42
TRIPS           equ 1000

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
    mov ebx, idt                    ; our handlers, as a list
    mov eax, SET_TRAP_TABLE
    int HYPERCALL
    mov ebx, KERNEL_DATA            ; the stack that the CPU takes when it comes from ring 3:
    mov ecx, kernel_stack_top       ; the hypervisor writes it into its TSS, for ring 1
    mov eax, STACK_SWITCH
    int HYPERCALL
    popad
%else
    lidt [idt_pointer]
    mov ax, TASK                    ; the task register leads to the TSS, and the TSS holds
    ltr ax                          ; the stack that the CPU takes when it comes from ring 3

    ; Ring 3 is to run with IF = 1, as programs do, so silence all hardware first:
    ; only INT 0x80 shall interrupt the program.
    mov al, 0xFF
    out PIC1_MASK, al
    out PIC2_MASK, al
%endif

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
    push eax                        ; this kind of IRET wants EAX as well, and unlike a plain
    mov eax, IRET_CALL              ; one of ring 1 it does as the frame says about IF
    int HYPERCALL
%else
    iretd
%endif

; INT 0x80. On the stack, the kernel's own: EIP, CS, EFLAGS, ESP, SS of the program.
system_call:
    cmp eax, SYS_GETPID
    jne .not_getpid
    inc dword [calls]
    mov [kernel_esp], esp           ; kept to be shown at the end:
    mov eax, [esp + 12]             ; the two stacks of the last trip
    mov [user_esp], eax
    mov eax, PROCESS_ID
    iretd
.not_getpid:
    cmp eax, SYS_EXIT
    jne panic                       ; this kernel knows two calls only

%ifdef PARAVIRT
    mov byte [shared_info + UPCALL_MASK], 1 ; no gate of the CPU's does this for us
%endif
.marker_exit:
    cld                             ; the program may have left DF in any state
    mov eax, [calls]
    call print_decimal
    mov esi, text_calls
    call print
    mov eax, ebx                    ; what the program counted for itself
    call print_decimal
    mov esi, text_answers
    call print
    mov eax, [user_esp]
    mov ecx, 8
    call print_hex
    mov esi, text_kernel_esp
    call print
    mov eax, [kernel_esp]
    call print_hex
    mov esi, text_from_tss
    call print

    mov eax, TRIPS
    sub eax, ebx                    ; 0 if every answer was right
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
%include "../common/print_decimal.asm"
%include "../common/print_hex.asm"
%include "../common/putc.asm"

; ---- User code (ring 3) -------------------------------------------------------------
align 4096
user_program:
    mov ecx, TRIPS
    mov ebx, 0                      ; right answers
.trip:
    mov eax, SYS_GETPID
.marker_ask:
    int 0x80                        ; into ring 0 and back
    cmp eax, PROCESS_ID
    jne .next
    inc ebx
.next:
    dec ecx
    jnz .trip

    mov eax, SYS_EXIT               ; EBX goes with it
    int 0x80
.after_exit:
    jmp .after_exit

; ---- Data: never on a page with code ------------------------------------------------
align 4096, db 0
calls:
    dd 0                            ; trips so far
kernel_esp:
    dd 0                            ; ESP in the handler
user_esp:
    dd 0                            ; ESP of the program at the same moment

text_calls:
    db " system calls, ", 0
text_answers:
    db " right answers.", 10, "Stack of the program: ", 0
text_kernel_esp:
    db ". Stack of the handler: ", 0
text_from_tss:
    db ". The CPU found the second one in the TSS.", 10, 0
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
%rep 32
    gate panic, INTERRUPT_GATE
%endrep
    times (0x80 - 32) dq 0          ; not present
    gate system_call, USER_GATE     ; the only gate that INT may use from ring 3
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

