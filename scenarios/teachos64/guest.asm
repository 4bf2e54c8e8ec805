; teachos64: what an operating system does differently in long mode.
;
; The companion of teachos: a smaller kernel, with the parts that change when addresses
; have 64 bits. Read it from the top:
;
;    1. Booting            the four switches that lead into long mode, and the jump after them
;    2. The kernel begins  descriptors, interrupt stacks, SYSCALL; what a double fault is good for
;    3. Traps              SWAPGS, the interrupt frame, IRETQ
;    4. System calls       in by SYSCALL, out by SYSRET
;    5. Memory             frames, four levels of tables, demand-zero pages
;    6. Processes          turns, sleep, start, wait
;    7. Saying things      console, numbers, panic
;    8. Programs           what runs in ring 3
;    9. Tables             descriptors, vectors, names
;
; Rules of the kernel: RAX, RCX, RDX, RSI, RDI and R8 to R11 are scratch, every routine
; gives back the others; arguments are in RDI, RSI, RDX. DF is clear. IF is 0 throughout:
; only ring 3 and the idle loop can be interrupted. What the console shows does not depend
; on how fast the machine is; counts that do go to the debug console (port E9h).

; ---- Memory, as a process sees it --------------------------------------------------------
;   0000000000400000  the programs, read-only, one copy for everyone
;   0000001000000000  heap: 64 GiB of addresses; pages come when they are first touched
;   00007FFFFFFF0000  end of the stack; it grows downwards, and its pages come likewise
;   0000800000000000  no address: bits 63 to 47 must be equal ("canonical")
;   FFFFFFFF80000000  the kernel: all physical memory, the last 2 GiB of addresses, where
;                     an address still fits in 32 bits, sign-extended; ring 0 only
LOAD            equ 0x00100000      ; physical: the first address above video memory and firmware
KERNEL_BASE     equ 0xFFFFFFFF80000000 ; physical address 0, as the kernel sees it
USER_TEXT       equ 0x00400000
USER_TEXT_BYTES equ PAGE_BYTES
HEAP            equ 0x0000001000000000
HEAP_BYTES      equ 1 << 36
STACK_TOP       equ 0x00007FFFFFFF0000
STACK_BYTES     equ 16 * PAGE_BYTES
NOT_CANONICAL   equ 0x0000800000000000
NOT_MAPPED      equ 0xFFFFFFFFFFFFF000
KERNEL_START    equ KERNEL_BASE + LOAD + PAGE_BYTES + USER_TEXT_BYTES
FRAMES          equ 1024            ; physical memory in pages: 4 MiB, two large pages
%define ADDR(label) (label - kernel_start + KERNEL_START) ; a label as a number that can be cut into pieces
%define LOW(label) (label - KERNEL_BASE) ; where something of the kernel is without paging

; ---- The CPU's bits ------------------------------------------------------------------------
MULTIBOOT_MAGIC equ 0x1BADB002
MULTIBOOT_FLAGS equ 1 << 16         ; "the address fields below are valid"
CR0_WP          equ 1 << 16         ; read-only pages are read-only for ring 0 too
CR0_PG          equ 1 << 31
CR4_PAE         equ 1 << 5          ; entries of page tables have 64 bits
EFER            equ 0xC0000080      ; model-specific registers
EFER_SCE        equ 1 << 0          ; SYSCALL and SYSRET work
EFER_LME        equ 1 << 8          ; long mode, as soon as paging is on
EFER_NXE        equ 1 << 11         ; bit 63 of an entry: do not execute
STAR            equ 0xC0000081      ; selectors for SYSCALL and SYSRET
LSTAR           equ 0xC0000082      ; where SYSCALL goes
SFMASK          equ 0xC0000084      ; which flags it clears
GS_BASE         equ 0xC0000101
KERNEL_GS_BASE  equ 0xC0000102      ; what SWAPGS exchanges it with
CPUID_LONG_MODE equ 1 << 29         ; leaf 80000001h, EDX
CPUID_NX        equ 1 << 20
PAGE_BYTES      equ 4096
PAGE_PRESENT    equ 1 << 0
PAGE_WRITE      equ 1 << 1
PAGE_USER       equ 1 << 2
PAGE_LARGE      equ 1 << 7          ; in a page directory: no table, this entry maps 2 MiB
PAGE_SHARED     equ 1 << 9          ; ours, the CPU ignores it: not this process's to free
PAGE_NX_HIGH    equ 1 << 31         ; bit 63, in the upper half of an entry
PAGE_NX_BIT     equ 63
FAULT_PRESENT   equ 1 << 0          ; error code of a page fault: there, but not for this access
FLAG_TF         equ 1 << 8
FLAG_IF         equ 1 << 9
FLAG_DF         equ 1 << 10
FLAGS_FIXED     equ 1 << 1          ; this bit is always 1
DOUBLE_FAULT    equ 8               ; vectors
PAGE_FAULT      equ 14

; SYSRET finds its selectors by adding to one number, so the order is not ours to choose:
; 32-bit code, then data, then 64-bit code.
KERNEL_CODE     equ 0x08
KERNEL_DATA     equ 0x10
USER_CODE_32    equ 0x18 + 3        ; nobody runs in it, but SYSRET counts from here
USER_DATA       equ 0x20 + 3
USER_CODE       equ 0x28 + 3
TASK            equ 0x30
INTERRUPT_GATE  equ 0x8E            ; present, for ring 0, 64 bits, clears IF on entry
FAULT_STACK     equ 1               ; which of the TSS's seven interrupt stacks double faults take

; ---- Devices ---------------------------------------------------------------------------------
PIC1            equ 0x20            ; the two interrupt controllers: commands; masks are one higher
PIC2            equ 0xA0
PIC_INIT        equ 0x11            ; three more words follow
PIC_8086        equ 0x01
PIC_EOI         equ 0x20            ; "end of interrupt": the next one may come
IRQ_VECTOR      equ 0x20            ; IRQ 0 to 15 arrive as vectors 20h to 2Fh
IRQ_TIMER       equ 0
IRQ_CASCADE     equ 2               ; where the second controller hangs on the first
VECTORS         equ IRQ_VECTOR + 16
TIMER_CHANNEL   equ 0x40
TIMER_COMMAND   equ 0x43
TIMER_RATE      equ 0x34            ; channel 0, low byte then high, mode 2: one pulse every so many beats
TIMER_HZ        equ 1193182
TICKS_A_SECOND  equ 100
COM1            equ 0x3F8           ; first serial port: the console
UART_INTERRUPTS equ COM1 + 1
UART_FIFO       equ COM1 + 2
UART_LINE       equ COM1 + 3
UART_STATUS     equ COM1 + 5
UART_HAS_ROOM   equ 0x20
DEBUG_CONSOLE   equ 0xE9
EXIT_PORT       equ 0xF4            ; value v ends the run with exit code (v << 1) | 1
EXIT_OK         equ 0
EXIT_NO_LONG    equ 0x7D
EXIT_PANIC      equ 0x7F

; ---- System calls, by the number in RAX; arguments in RDI, RSI, the answer in RAX. ------------
; The CPU itself takes RCX and R11 for the way back.
SYS_EXIT        equ 0               ; RDI: status
SYS_WRITE       equ 1               ; RDI: text, RSI: bytes
SYS_YIELD       equ 2
SYS_SLEEP       equ 3               ; RDI: ticks
SYS_START       equ 4               ; RDI: which program; its number
SYS_WAIT        equ 5               ; RDI: whose end to wait for; its status
SYS_TURNS       equ 6               ; how often the clock has taken the CPU from this process
FAILED          equ -1
KILLED          equ -2              ; status of a process that did not end by itself

; ---- A process ----------------------------------------------------------------------------------
P_STATE         equ 0
P_PID           equ 8
P_PROGRAM       equ 16              ; its row in the table of programs
P_STATUS        equ 24              ; what it ended with
P_DEADLINE      equ 32              ; the tick that wakes it
P_TURNS         equ 40
P_TABLES        equ 48              ; its address space: physical address, as CR3 takes it
P_STACK         equ 56              ; its kernel stack: where it ends, and the CPU comes in
P_RSP           equ 64              ; where it left off there
PROCESS_BYTES   equ 72
PROCESSES       equ 6               ; the first is nobody: it runs when nobody else can

FREE            equ 0               ; states
READY           equ 1
RUNNING         equ 2
SLEEPING        equ 3
WAITING         equ 4               ; for somebody's end
ZOMBIE          equ 5               ; has ended; nobody has asked yet

; ---- What lies on the kernel's stack after a trap --------------------------------------------------
; Long mode has no PUSHA: fifteen registers, one by one.
F_RAX           equ 14 * 8
F_VECTOR        equ 15 * 8          ; our own
F_ERROR         equ 16 * 8          ; the CPU's, or 0
F_RIP           equ 17 * 8          ; the CPU's; in long mode always all five, even from ring 0
F_CS            equ 18 * 8
F_RFLAGS        equ 19 * 8
F_RSP           equ 20 * 8
F_SS            equ 21 * 8
FRAME_BYTES     equ 22 * 8

; ---- What GS leads to while the kernel runs -----------------------------------------------------------
CPU_KERNEL_RSP  equ 0               ; the current process's kernel stack
CPU_USER_RSP    equ 8               ; a place to put the user's for a moment

default rel                         ; addresses relative to RIP: short, and 64 bits far
org LOAD
section .boot vstart=LOAD
section .user follows=.boot align=4096 vstart=USER_TEXT
section .kernel follows=.user align=4096 vstart=KERNEL_START
section .bss nobits vfollows=.kernel valign=4096

%macro save 1-*
%rep %0
    push %1
%rotate 1
%endrep
%endmacro
%macro restore 1-*
%rep %0
%rotate -1
    pop %1
%endrep
%endmacro
%define ALL_REGISTERS rax, rcx, rdx, rbx, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15
%define KEPT_REGISTERS rbx, rbp, r12, r13, r14, r15
%macro write_port 2                 ; changes EAX and EDX
    mov al, %2
%if %1 < 0x100
    out %1, al
%else
    mov edx, %1
    out dx, al
%endif
%endmacro
%macro write_msr 2                  ; changes RAX, RCX, RDX
    mov ecx, %1
    mov rax, %2
    mov rdx, rax
    shr rdx, 32
    wrmsr
%endmacro

; ==== 1. Booting ======================================================================================

section .boot                       ; linked for physical addresses: this runs before paging
bits 32
align 4
multiboot_header:
    dd MULTIBOOT_MAGIC
    dd MULTIBOOT_FLAGS
    dd -(MULTIBOOT_MAGIC + MULTIBOOT_FLAGS) ; the three add up to 0
    dd multiboot_header             ; where this header belongs in memory
    dd LOAD                         ; where the image begins
    dd LOW(kernel_end)              ; where it ends
    dd LOW(memory_end)              ; zeroed up to here
    dd boot                         ; first instruction

; The loader leaves us in 32-bit protected mode without paging. Is there more to be had? The
; bit for SYSCALL is not asked for: Intel's CPUs show it only to those who are already in
; 64-bit mode, where it is always there.
boot:
    mov esp, LOW(idle_stack_top)
    cld
    mov eax, 0x80000000
    cpuid
    cmp eax, 0x80000001             ; the highest leaf: is it high enough to ask?
    jb no_long_mode
    mov eax, 0x80000001
    cpuid
    and edx, CPUID_LONG_MODE | CPUID_NX
    cmp edx, CPUID_LONG_MODE | CPUID_NX
    jne no_long_mode

    ; Long mode has no life without paging, so the tables come first. The same 4 MiB appear
    ; twice: where they are, for this code, and where the kernel wants to be. One directory
    ; serves both; of its two large pages only the first has code.
    mov dword [LOW(boot_level4)], LOW(boot_level3) + (PAGE_WRITE | PAGE_PRESENT)
    mov dword [LOW(boot_level4) + 511 * 8], LOW(boot_level3) + (PAGE_WRITE | PAGE_PRESENT)
    mov dword [LOW(boot_level3)], LOW(boot_level2) + (PAGE_WRITE | PAGE_PRESENT)
    mov dword [LOW(boot_level3) + 510 * 8], LOW(boot_level2) + (PAGE_WRITE | PAGE_PRESENT)
    mov dword [LOW(boot_level2)], PAGE_LARGE | PAGE_WRITE | PAGE_PRESENT
    mov dword [LOW(boot_level2) + 8], (2 << 20) | PAGE_LARGE | PAGE_WRITE | PAGE_PRESENT
    mov dword [LOW(boot_level2) + 12], PAGE_NX_HIGH

    ; Four switches. The last one makes the CPU look at the others: with CR0.PG it enters
    ; long mode, which EFER.LMA then says. The code goes on in compatibility mode, as 32-bit
    ; code, until a far jump loads a CS whose descriptor says 64 bits.
    mov eax, cr4
    or eax, CR4_PAE
    mov cr4, eax
    mov eax, LOW(boot_level4)
    mov cr3, eax
    mov ecx, EFER
    rdmsr
    or eax, EFER_SCE | EFER_LME | EFER_NXE
    wrmsr
    mov eax, cr0
    or eax, CR0_PG | CR0_WP
    mov cr0, eax
    lgdt [boot_gdt_pointer]
    jmp KERNEL_CODE:.long_mode
bits 64
.long_mode:                         ; still at the low address: only this jump can go up
    mov rax, start
    jmp rax
bits 32

no_long_mode:
    mov esi, boot_no_long_mode
.next:
    mov edx, UART_STATUS
    in al, dx
    test al, UART_HAS_ROOM
    jz .next
    lodsb
    mov edx, COM1
    out dx, al
    cmp al, 10
    jne .next
    mov al, EXIT_NO_LONG
    out EXIT_PORT, al
.stop:
    hlt
    jmp .stop

boot_no_long_mode:  db "teachos64 needs a CPU with long mode and no-execute pages", 10
align 4, db 0
boot_gdt_pointer:                   ; 32-bit code loads 32 bits of an address
    dw gdt_end - gdt - 1
    dd LOW(gdt)
times PAGE_BYTES - ($ - $$) db 0    ; whole pages, so that the next part begins on one

; ==== 2. The kernel begins =================================================================================

section .kernel
bits 64
kernel_start:
start:
    mov rsp, idle_stack_top
    lgdt [gdt_pointer]              ; the same table, at its address up here
    lidt [idt_pointer]
    mov eax, KERNEL_DATA            ; what is in SS matters little now, in DS and ES nothing:
    mov ss, eax                     ; 64-bit code has no bases and no limits there
    mov ds, eax
    mov es, eax
    xor eax, eax
    mov fs, eax
    mov gs, eax
    mov eax, TASK                   ; the TSS no longer holds a task, only stacks
    ltr ax
    mov qword [boot_level4], 0      ; nobody executes down there any more: address 0 is to be
    mov qword [boot_level3], 0      ; a mistake from now on
    mov rax, cr3
    mov cr3, rax

    ; FS and GS keep a base, now of 64 bits and in an MSR: no descriptor has room for it.
    write_msr GS_BASE, this_cpu
    write_msr KERNEL_GS_BASE, 0     ; what programs find in GS: nothing
    write_msr STAR, (USER_CODE_32 << 48) | (KERNEL_CODE << 32)
    write_msr LSTAR, system_call
    write_msr SFMASK, FLAG_IF | FLAG_DF | FLAG_TF ; nobody comes in with these

    call start_console
    lea rdi, [text_welcome]
    call print
    call survive_a_double_fault
    call start_interrupts
    mov eax, [boot_level4 + 511 * 8] ; processes share this entry, and with it the kernel
    mov [kernel_entry], rax
    mov rax, cr3
    mov [processes + P_TABLES], rax
    mov qword [processes + P_STATE], RUNNING
    lea rax, [processes]
    mov [current], rax
    xor edi, edi                    ; the first program
    call start_program

; Whoever runs when nobody else can. STI lets interrupts through only after the instruction
; behind it: none can come between the look and the HLT.
idle:
    call schedule
    sti
    hlt
    cli
    jmp idle

; A page fault while the CPU pushes the frame of a page fault is a double fault, and with a
; stack that is not there it cannot push that either; a PC would reset. In long mode a gate
; can name one of seven stacks in the TSS, to be taken whatever RSP is. Only double faults
; have one here: a handler on such a stack begins at its top each time, and would overwrite
; the frame of an earlier one that is not finished.
survive_a_double_fault:
    save KEPT_REGISTERS
    mov [rsp_before], rsp
    mov rsp, NOT_MAPPED
    push rax                        ; page fault; its frame goes to the same stack
double_fault:                       ; a double fault cannot be returned from, but left
    cmp qword [rsp_before], 0
    je exception                    ; not the one that we have asked for
    mov rsp, [rsp_before]
    mov qword [rsp_before], 0
    lea rdi, [text_survived]
    call print
    restore KEPT_REGISTERS
    ret

start_interrupts:
    write_port PIC1, PIC_INIT
    write_port PIC2, PIC_INIT
    write_port PIC1 + 1, IRQ_VECTOR
    write_port PIC2 + 1, IRQ_VECTOR + 8
    write_port PIC1 + 1, 1 << IRQ_CASCADE ; how they are connected: for the first by bit,
    write_port PIC2 + 1, IRQ_CASCADE ; for the second by number
    write_port PIC1 + 1, PIC_8086
    write_port PIC2 + 1, PIC_8086
    write_port PIC1 + 1, ~(1 << IRQ_TIMER) & 0xFF
    write_port PIC2 + 1, 0xFF
    write_port TIMER_COMMAND, TIMER_RATE
    write_port TIMER_CHANNEL, (TIMER_HZ / TICKS_A_SECOND) & 0xFF
    write_port TIMER_CHANNEL, (TIMER_HZ / TICKS_A_SECOND) >> 8
    ret

; ==== 3. Traps ===============================================================================================

; One entry for each vector. The CPU pushes an error code for some and none for others; here
; they become alike.
%macro trap_entry 1
trap_%1:
%if %1 != 8 && (%1 < 10 || %1 > 14) && %1 != 17
    push 0
%endif
    push %1
    jmp trap
%endmacro
%assign vector 0
%rep VECTORS
    trap_entry vector
%assign vector vector + 1
%endrep

; From ring 3 the base of GS is the program's: exchange it, and only then. From ring 0 it is
; already the kernel's, and a second SWAPGS would take it away. (This relies on IF = 0 from
; here to the SWAPGS, and on no fault in between: a kernel that can be hit there must look
; at the MSR itself.)
trap:
    test byte [rsp + F_CS - F_VECTOR], 3
    jz .from_kernel
    swapgs
.from_kernel:
    save ALL_REGISTERS
    mov rdi, rsp                    ; handlers find the frame here
    mov rax, [rdi + F_VECTOR]
    lea rcx, [handlers]
    call [rcx + rax * 8]

trap_return:                        ; new processes begin here, too
    test byte [rsp + F_CS], 3
    jz .to_kernel
    cmp qword [time_is_up], 0
    je .same_process
    mov rax, [current]
    inc qword [rax + P_TURNS]
    call schedule
.same_process:
    restore ALL_REGISTERS
    add rsp, F_RIP - F_VECTOR
    swapgs
    iretq
.to_kernel:
    restore ALL_REGISTERS
    add rsp, F_RIP - F_VECTOR
    iretq

; Anything that is not expected. Of a program: end it. Of the kernel: stop.
exception:
    test byte [rdi + F_CS], 3
    jz panic
    mov rbx, rdi
    call begin_obituary
    mov rax, [rbx + F_VECTOR]
    lea rcx, [exception_names]
    mov rdi, [rcx + rax * 8]
    call print
kill:                               ; RDI: nothing, all has been said
    lea rdi, [text_killed]
    call print
    mov rdi, KILLED
    jmp sys_exit

; "[" and the program's name.
begin_obituary:
    lea rdi, [text_open]
    call print
    mov rax, [current]
    mov rax, [rax + P_PROGRAM]
    mov rdi, [rax]
    call print
    lea rdi, [text_colon]
    jmp print

; A page fault is a request if the page is missing in heap or stack. It may come from ring 0
; as well: when a system call reads what a program has never touched.
page_fault:
    mov rbx, rdi
    mov r12, cr2
    mov r13d, [rbx + F_ERROR]
    test r13d, FAULT_PRESENT
    jnz .refused
    mov rdi, r12
    lea rsi, [r12 + 1]
    call is_demand_zero
    jc .refused
    call zeroed_frame
    test rax, rax
    jz .no_memory
    mov rdx, rax
    or rdx, PAGE_USER | PAGE_WRITE | PAGE_PRESENT
    bts rdx, PAGE_NX_BIT            ; data: whatever is written there, nobody executes it
    mov rax, [current]
    mov rdi, [rax + P_TABLES]
    mov rsi, r12
    call map_page
    jc .no_memory
    inc qword [pages_brought]
    ret
.no_memory:
    lea r14, [text_no_memory]
    jmp .end_it
.refused:
    test byte [rbx + F_CS], 3
    jz panic
    and r13d, 0x13                  ; present, write, fetch: each is a bit of the error code
    lea r14, [fault_reasons]
    mov eax, r13d
    shr eax, 2                      ; fetch from bit 4 to bit 2
    or eax, r13d
    and eax, 7
    mov r14, [r14 + rax * 8]
.end_it:
    call begin_obituary
    lea rdi, [name_page_fault]
    call print
    lea rdi, [text_at]
    call print
    mov rdi, r12
    call print_hex
    mov rdi, r14
    call print
    jmp kill

; Tell whether the bytes from RDI up to RSI lie in the heap or in the stack. Returns CF: they do not.
is_demand_zero:
    cmp rsi, rdi
    jb .no                          ; around the end of all addresses
    mov rax, HEAP
    cmp rdi, rax
    jb .no
    mov rcx, HEAP + HEAP_BYTES
    cmp rcx, rsi
    jae .done                       ; CF is 0
    mov rax, STACK_TOP - STACK_BYTES
    cmp rdi, rax
    jb .no
    mov rcx, STACK_TOP
    cmp rcx, rsi                    ; CF: its end is beyond
.done:
    ret
.no:
    stc
    ret

; IRQ 0, a hundred times a second.
clock_interrupt:
    write_port PIC1, PIC_EOI        ; first: the way back may lead into another process
    mov qword [time_is_up], 1
    in al, EXIT_PORT                ; on a machine of its own this always reads 0; whoever runs
    test al, 1                      ; virtual ones can ask there for an end
    jnz asked_to_shut_down
    inc qword [ticks]
    mov rax, [ticks]
    lea rdx, [processes]
    lea rcx, [processes_end]
.next:
    cmp qword [rdx + P_STATE], SLEEPING
    jne .not_this
    cmp [rdx + P_DEADLINE], rax
    ja .not_this
    mov qword [rdx + P_STATE], READY
.not_this:
    add rdx, PROCESS_BYTES
    cmp rdx, rcx
    jb .next
spurious:                           ; the request is gone: nothing to serve, nothing to end
    ret

; ==== 4. System calls ==========================================================================================

; SYSCALL is quick because it does next to nothing: RIP goes to RCX, RFLAGS to R11, the
; selectors are made up, and RSP is still the program's. There is no register to be had;
; SWAPGS is there for this moment. What is pushed is the same frame that a trap has.
system_call:
    swapgs
    mov [gs:CPU_USER_RSP], rsp
    mov rsp, [gs:CPU_KERNEL_RSP]
    push USER_DATA
    push qword [gs:CPU_USER_RSP]
    push r11
    push USER_CODE
    push rcx
    push 0
    push 0
    save ALL_REGISTERS
    inc qword [system_calls]
    cmp rax, CALLS
    jae .unknown
    lea rcx, [calls]
    call [rcx + rax * 8]
    mov [rsp + F_RAX], rax
.return:
    restore ALL_REGISTERS
    add rsp, F_RIP - F_VECTOR

    ; SYSRET takes RIP from RCX. Intel's CPUs look whether it is canonical while they are
    ; still in ring 0, and fault there, on the program's stack: many kernels have fallen over
    ; this. Here no program has a page before the end of its half, so no SYSCALL can be the
    ; last instruction in front of it.
    pop rcx
    add rsp, 8
    pop r11
    pop rsp
    swapgs
    o64 sysret
.unknown:
    mov qword [rsp + F_RAX], FAILED
    jmp .return

; RDI: text, RSI: bytes. Only what a program may read itself is printed: the address comes
; from ring 3, and the kernel could read everything.
sys_write:
    cmp rsi, PAGE_BYTES
    ja .refuse
    save rbx, r12
    mov rbx, rdi
    lea r12, [rdi + rsi]
    mov rsi, r12
    cmp rbx, USER_TEXT
    jb .not_text
    cmp r12, USER_TEXT + USER_TEXT_BYTES
    jbe .next
.not_text:
    call is_demand_zero
    jc .refuse_saved
.next:
    cmp rbx, r12
    je .done
    movzx edi, byte [rbx]
    call print_character
    inc rbx
    jmp .next
.done:
    restore rbx, r12
    xor eax, eax
    ret
.refuse_saved:
    restore rbx, r12
.refuse:
    mov rax, FAILED
    ret

sys_turns:
    mov rax, [current]
    mov rax, [rax + P_TURNS]
    ret

; ==== 5. Memory ==================================================================================================

; Get a page of zeros. Returns its physical address in RAX, 0 if there is none. Frames come
; from those that were given back, else from those that nobody has had yet.
zeroed_frame:
    mov rax, [free_list]
    test rax, rax
    jz .fresh
    mov rdx, [KERNEL_BASE + rax]    ; a free frame holds the address of the next one
    mov [free_list], rdx
    jmp .clear
.fresh:
    mov rax, [first_fresh]
    cmp rax, FRAMES * PAGE_BYTES
    jae .none
    add qword [first_fresh], PAGE_BYTES
.clear:
    inc qword [frames_taken]
    lea rdi, [KERNEL_BASE + rax]
    mov rdx, rax
    xor eax, eax
    mov ecx, PAGE_BYTES / 8
    rep stosq
    mov rax, rdx
    ret
.none:
    xor eax, eax
    ret

; Give back the frame at RDI, a physical address.
free_frame:
    mov rax, [free_list]
    mov [KERNEL_BASE + rdi], rax
    mov [free_list], rdi
    dec qword [frames_taken]
    ret

; Map a page: RDI the tables of an address space, RSI the address, RDX the entry. Each level
; takes nine bits of the address as an index: 47 to 39, 38 to 30, 29 to 21, 20 to 12; tables
; that are missing on the way are made. Returns CF if there was no memory for one.
map_page:
    save rbx, r12, r13, r14
    mov rbx, rdi
    mov r12, rsi
    mov r13, rdx
    mov r14d, 39
.level:
    mov ecx, r14d
    mov rax, r12
    shr rax, cl
    and eax, 511
    lea rbx, [KERNEL_BASE + rbx + rax * 8]
    cmp r14d, 12
    je .page
    test byte [rbx], PAGE_PRESENT
    jnz .down
    call zeroed_frame
    test rax, rax
    jz .no_memory
    or rax, PAGE_USER | PAGE_WRITE | PAGE_PRESENT ; whatever the page's own entry allows
    mov [rbx], rax
.down:
    mov rbx, [rbx]
    and rbx, -PAGE_BYTES            ; tables have no NX, so bits 63 to 12 are an address
    sub r14d, 9
    jmp .level
.page:
    mov [rbx], r13                  ; was not present, so no TLB has anything to forget
    clc
    jmp .return
.no_memory:
    mov rdi, r13                    ; nobody else knows of the page
    and rdi, FRAMES * PAGE_BYTES - PAGE_BYTES
    call free_frame
    stc
.return:
    restore rbx, r12, r13, r14
    ret

; Give back a table and all below it: RDI its physical address, ESI its level, 4 to 1. Of the
; outermost only the lower half is a process's own.
free_tables:
    save rbx, r12, r13, r14
    mov r12, rdi
    mov r13d, esi
    lea rbx, [KERNEL_BASE + rdi]
    lea r14, [rbx + PAGE_BYTES]
    cmp esi, 4
    jne .next
    sub r14, PAGE_BYTES / 2
.next:
    mov rdi, [rbx]
    test edi, PAGE_PRESENT
    jz .skip
    test edi, PAGE_SHARED
    jnz .skip
    and rdi, FRAMES * PAGE_BYTES - PAGE_BYTES
    cmp r13d, 1
    je .page
    lea esi, [r13 - 1]
    call free_tables
    jmp .skip
.page:
    call free_frame
.skip:
    add rbx, 8
    cmp rbx, r14
    jb .next
    mov rdi, r12
    call free_frame
    restore rbx, r12, r13, r14
    ret

; ==== 6. Processes ===============================================================================================

; Give the CPU to the next process that is ready, this one included, or to nobody. Returns
; when it is this one's turn again.
schedule:
    save KEPT_REGISTERS
    mov qword [time_is_up], 0
    mov rbx, [current]
    cmp qword [rbx + P_STATE], RUNNING
    jne .search
    mov qword [rbx + P_STATE], READY
.search:
    mov rax, rbx
    mov ecx, PROCESSES
    lea rdx, [processes_end]
.next:
    add rax, PROCESS_BYTES
    cmp rax, rdx
    jb .within
    lea rax, [processes + PROCESS_BYTES] ; around, past nobody
.within:
    cmp qword [rax + P_STATE], READY
    je .found
    loop .next
    lea rax, [processes]            ; nobody
.found:
    mov qword [rax + P_STATE], RUNNING
    cmp rax, rbx
    je .return
    inc qword [switches]
    mov [current], rax
    mov [rbx + P_RSP], rsp
    mov rsp, [rax + P_RSP]
    mov rcx, [rax + P_STACK]
    mov [this_cpu + CPU_KERNEL_RSP], rcx ; where SYSCALL's code begins, and where the CPU does
    mov [tss_rsp0], rcx
    mov rcx, [rax + P_TABLES]       ; the kernel is at the same place in all of them
    mov cr3, rcx

    ; An interrupt from ring 3 has left SS empty, which is all right in 64-bit code. But the
    ; next process may go back by SYSRET, and AMD's leaves of SS as it is what it does not
    ; need to change: the program would get the empty one.
    mov ecx, KERNEL_DATA
    mov ss, ecx
.return:
    restore KEPT_REGISTERS
    ret

sys_yield:
    call schedule
    xor eax, eax
    ret

; RDI: ticks.
sys_sleep:
    mov rax, [current]
    add rdi, [ticks]
    mov [rax + P_DEADLINE], rdi
    mov qword [rax + P_STATE], SLEEPING
    jmp sys_yield

; RDI: status. Address space and kernel stack cannot go yet, we are using them: whoever
; waits for us takes them away.
sys_exit:
    mov rax, [current]
    cmp qword [rax + P_PID], 1
    je halt                         ; the first process has ended, and so has everything
    mov [rax + P_STATUS], rdi
    mov qword [rax + P_STATE], ZOMBIE
    lea rax, [processes]
    lea rdx, [processes_end]
.next:
    cmp qword [rax + P_STATE], WAITING
    jne .not_this
    mov qword [rax + P_STATE], READY
.not_this:
    add rax, PROCESS_BYTES
    cmp rax, rdx
    jb .next
    jmp schedule                    ; does not return

; RDI: whose end. Returns its status.
sys_wait:
    save rbx
    lea rbx, [processes]
    lea rdx, [processes_end]
.search:
    add rbx, PROCESS_BYTES          ; the first is nobody
    cmp rbx, rdx
    jae .unknown
    cmp qword [rbx + P_STATE], FREE
    je .search
    cmp [rbx + P_PID], rdi
    jne .search
    cmp rbx, [current]
    je .unknown                     ; one's own end would be a long wait
.look:
    cmp qword [rbx + P_STATE], ZOMBIE
    je .bury
    mov rax, [current]
    mov qword [rax + P_STATE], WAITING
    call schedule
    jmp .look
.bury:
    mov rdi, [rbx + P_TABLES]
    mov esi, 4
    call free_tables
    mov rdi, [rbx + P_STACK]
    sub rdi, PAGE_BYTES
    mov rax, KERNEL_BASE
    sub rdi, rax
    call free_frame
    mov qword [rbx + P_STATE], FREE
    mov rax, [rbx + P_STATUS]
    restore rbx
    ret
.unknown:
    mov rax, FAILED
    restore rbx
    ret

; RDI: which program. Returns the number of its process.
sys_start:
    cmp rdi, PROGRAMS
    jb start_program
    mov rax, FAILED
    ret

; The new process begins as if it had been interrupted in front of its first instruction.
start_program:
    save rbx, r12, r13
    shl rdi, 4
    lea r12, [programs]
    add r12, rdi
    lea rbx, [processes]
    lea rdx, [processes_end]
.search:
    add rbx, PROCESS_BYTES
    cmp rbx, rdx
    jae .no_slot
    cmp qword [rbx + P_STATE], FREE
    jne .search
    mov [rbx + P_PROGRAM], r12
    mov qword [rbx + P_TURNS], 0

    call .frame                     ; an address space: the kernel's entry, and the programs
    mov [rbx + P_TABLES], rax
    mov rdx, [kernel_entry]
    mov [KERNEL_BASE + rax + 511 * 8], rdx
    mov rdi, rax
    mov esi, USER_TEXT
    mov edx, (LOAD + PAGE_BYTES) | PAGE_SHARED | PAGE_USER | PAGE_PRESENT
    call map_page
    jc .no_memory

    call .frame                     ; a kernel stack
    lea r13, [KERNEL_BASE + rax + PAGE_BYTES]
    mov [rbx + P_STACK], r13
    sub r13, FRAME_BYTES
    mov rax, [r12 + 8]
    mov [r13 + F_RIP], rax
    mov qword [r13 + F_CS], USER_CODE
    mov qword [r13 + F_RFLAGS], FLAG_IF | FLAGS_FIXED
    mov rax, STACK_TOP
    mov [r13 + F_RSP], rax
    mov qword [r13 + F_SS], USER_DATA
    lea rax, [trap_return]          ; where `schedule` returns to, and the six that it restores
    mov [r13 - 8], rax
    sub r13, 7 * 8
    mov [rbx + P_RSP], r13
    inc qword [last_pid]
    mov rax, [last_pid]
    mov [rbx + P_PID], rax
    mov qword [rbx + P_STATE], READY
    restore rbx, r12, r13
    ret
.no_slot:
    mov rax, FAILED
    restore rbx, r12, r13
    ret
.frame:
    call zeroed_frame
    test rax, rax
    jz .no_memory
    ret
.no_memory:
    lea rsi, [text_no_memory]
    jmp panic_saying

asked_to_shut_down:                 ; whoever runs now will not run on, so nothing has to be kept
    lea rdi, [text_asked]
    call print
    ; and on, as if all programs had ended

; The end: how many frames are taken now that only the first process has some, then the rest.
halt:
    lea rdi, [text_halt]
    call print
    mov rdi, [last_pid]
    call print_number
    lea rdi, [text_processes]
    call print
    mov rdi, [pages_brought]
    call print_number
    lea rdi, [text_brought]
    call print
    mov rdi, [frames_taken]
    call print_number
    lea rdi, [text_taken]
    call print
    mov dword [print_to], DEBUG_CONSOLE
    mov rdi, [ticks]
    call print_number
    lea rdi, [text_ticks]
    call print
    mov rdi, [switches]
    call print_number
    lea rdi, [text_switches]
    call print
    mov rdi, [system_calls]
    call print_number
    lea rdi, [text_calls]
    call print
    mov al, EXIT_OK
stop:
    out EXIT_PORT, al
.forever:
    cli
    hlt
    jmp .forever

; ==== 7. Saying things ===========================================================================================

start_console:
    write_port UART_LINE, 0x80      ; the next two bytes are the divisor of the speed,
    write_port COM1, 1
    write_port UART_INTERRUPTS, 0
    write_port UART_LINE, 3         ; from here on 8 bits, no parity, 1 stop bit
    write_port UART_FIFO, 0
    ret

; Print the character in DIL. Keeps all but RAX and RDX.
print_character:
    cmp dword [print_to], COM1
    jne .send
    mov edx, UART_STATUS
.wait:
    in al, dx
    test al, UART_HAS_ROOM
    jz .wait
.send:
    mov edx, [print_to]
    mov eax, edi
    out dx, al
    ret

; Print the text at RDI, up to its zero byte.
print:
    mov rsi, rdi
.next:
    movzx edi, byte [rsi]
    test edi, edi
    jz .done
    call print_character
    inc rsi
    jmp .next
.done:
    ret

; Print RDI with sixteen digits.
print_hex:
    mov rsi, rdi
    mov ecx, 16
.next:
    rol rsi, 4
    mov eax, esi
    and eax, 15
    lea rdx, [hex_digits]
    movzx edi, byte [rdx + rax]
    call print_character
    loop .next
    ret

; Print RDI in decimal.
print_number:
    mov rax, rdi
    mov ecx, 10
    push 0                          ; what ends the digits
.divide:
    xor edx, edx
    div rcx
    add edx, '0'
    push rdx
    test rax, rax
    jnz .divide
.next:
    pop rdi
    test edi, edi
    jz .done
    call print_character
    jmp .next
.done:
    ret

; The kernel itself is wrong: the frame at RDI says where.
panic:
    mov rbx, rdi
    lea rdi, [text_panic]
    call print
    mov rax, [rbx + F_VECTOR]
    lea rcx, [exception_names]
    mov rdi, [rcx + rax * 8]
    call print
    lea rdi, [text_at]
    call print
    mov rdi, [rbx + F_RIP]
    call print_hex
    lea rsi, [text_newline]
    jmp panic_saying.say
panic_saying:                       ; RSI: why
    mov rbx, rsi
    lea rdi, [text_panic]
    call print
    mov rsi, rbx
.say:
    mov rdi, rsi
    call print
    mov al, EXIT_PANIC
    jmp stop

; ==== 8. Programs =================================================================================================

section .user
%macro ask_kernel 1                 ; changes RCX and R11, too
    mov eax, %1
    syscall
%endmacro
%macro tell 1                       ; print a text
    lea rdi, [%1]
    call say
%endmacro

ENOUGH_TURNS    equ 24              ; so often the clock interrupts each of the three
RACERS          equ 3
FIRST_RACER     equ 1               ; their places in the table of programs
REACH           equ 4
FIRST_CRIME     equ 5

init_program:
    tell user_race
    mov edi, FIRST_RACER
    call launch                     ; all three at once: the clock is there to divide the CPU
    mov r12, rax
    mov edi, FIRST_RACER + 1
    call launch
    mov r13, rax
    mov edi, FIRST_RACER + 2
    call launch
    mov r14, rax
    mov rdi, r12
    lea rsi, [user_primes]
    call await_and_tell
    mov rdi, r13
    lea rsi, [user_collatz]
    call await_and_tell
    mov rdi, r14
    lea rsi, [user_mersenne]
    call await_and_tell

    mov edi, REACH
    call launch
    mov rdi, rax
    lea rsi, [user_reached]
    call await_and_tell

    xor ebx, ebx                    ; crimes, one after the other
.next_crime:
    lea edi, [rbx + FIRST_CRIME]
    call launch
    mov rdi, rax
    ask_kernel SYS_WAIT
    cmp rax, KILLED
    jne .unpunished
    inc ebx
    cmp ebx, CRIMES
    jb .next_crime
    tell user_all_killed
    jmp .sleep
.unpunished:
    tell user_unpunished
.sleep:
    mov edi, 20                     ; nobody is left to run: the CPU halts meanwhile
    ask_kernel SYS_SLEEP
    tell user_slept
    xor edi, edi
    ask_kernel SYS_EXIT

launch:                             ; EDI: which program; RAX: its process
    ask_kernel SYS_START
    ret

; Wait for the process RDI to end, and print its status and the text at RSI.
await_and_tell:
    push rsi
    ask_kernel SYS_WAIT
    call say_number
    pop rdi
    jmp say

; Count the primes below 5000, by trial division.
primes:
    xor r12d, r12d
    mov ebx, 2
.candidate:
    mov ecx, 2
.divisor:
    mov eax, ecx
    mul ecx
    cmp eax, ebx
    ja .prime
    mov eax, ebx
    xor edx, edx
    div ecx
    test edx, edx
    jz .composite
    inc ecx
    jmp .divisor
.prime:
    inc r12d
.composite:
    inc ebx
    cmp ebx, 5000
    jb .candidate
    ask_kernel SYS_TURNS
    cmp eax, ENOUGH_TURNS
    jb primes
    mov edi, r12d
    ask_kernel SYS_EXIT

; The highest number on the way to 1: even, halve it; odd, three times and one more. The
; start has 18 bits, the way leads beyond 32.
collatz:
    xor r12d, r12d
    mov ebx, 159400
.start:
    mov rax, rbx
.step:
    cmp rax, r12
    cmova r12, rax
    shr rax, 1
    jnc .even
    lea rax, [rax + rax * 2 + 2]    ; 3 (2h + 1) + 1 = 2 (3h + 2): and this is the half of it
    lea rdx, [rax + rax]
    cmp rdx, r12
    cmova r12, rdx
.even:
    cmp rax, 1
    ja .step
    inc ebx
    cmp ebx, 159600
    jb .start
    ask_kernel SYS_YIELD            ; this one gives way now and then
    ask_kernel SYS_TURNS
    cmp eax, ENOUGH_TURNS
    jb collatz
    mov rdi, r12
    ask_kernel SYS_EXIT

; For how many odd p below 62 is 2^p - 1 a prime? Lucas and Lehmer: s = 4, then p - 2 times
; s = s * s - 2, modulo 2^p - 1; prime if 0 is left. One MUL gives 128 bits, one DIV takes them.
; The test holds for prime p only; that it also rejects the odd composite ones, the result says.
mersenne:
    xor r12d, r12d
    mov ebx, 3
.exponent:
    mov ecx, ebx
    mov esi, 1
    shl rsi, cl
    dec rsi
    mov eax, 4
    sub ecx, 2
.square:
    mul rax
    sub rax, 2
    sbb rdx, 0
    jnc .reduce
    lea rax, [rsi - 2]              ; 0 * 0 - 2: below zero, so add the modulus
    xor edx, edx
.reduce:
    div rsi
    mov rax, rdx
    loop .square
    cmp rax, 1
    adc r12d, 0                     ; carry: 0 is below 1
    add ebx, 2
    cmp ebx, 62
    jb .exponent
    ask_kernel SYS_TURNS
    cmp eax, ENOUGH_TURNS
    jb mersenne
    mov edi, r12d
    ask_kernel SYS_EXIT

; Write to one page in each of sixteen GiB, then read them all: 16 pages, and two tables more
; for each, out of 64 GiB of addresses.
GIBS            equ 16
reach:
    mov rbx, HEAP + 64
    mov ecx, GIBS
.write:
    mov [rbx], rbx
    add rbx, 1 << 30
    loop .write
    xor edi, edi
    mov ecx, GIBS
.read:
    sub rbx, 1 << 30
    cmp [rbx], rbx
    jne .wrong
    cmp qword [rbx + 8], 0          ; demand-zero: nothing of its last owner
    jne .wrong
    inc edi
.wrong:
    loop .read
    ask_kernel SYS_EXIT

crime_null:
    mov eax, [abs 0]
    jmp got_away
crime_kernel:                       ; the kernel is there, at the top of this address space
    mov rax, KERNEL_BASE + LOAD
    mov rax, [rax]
    jmp got_away
crime_text:
    mov [user_race], al
    jmp got_away
crime_execute:                      ; write a RET to the heap, and call it
    mov rbx, HEAP
    mov byte [rbx], 0xC3
    call rbx
    jmp got_away
crime_address:                      ; bit 47 is 1, bits 63 to 48 are not: no page fault, there is no page
    mov rax, NOT_CANONICAL
    mov rax, [rax]
    jmp got_away
crime_stack:                        ; the same by way of RSP is a stack fault
    mov rsp, NOT_CANONICAL + 8
    push rax
    jmp got_away
crime_cli:
    cli
    jmp got_away
crime_greed:                        ; touch page after page until there are no more
    mov rbx, HEAP
.next:
    mov [rbx], al
    add rbx, PAGE_BYTES
    jmp .next
got_away:
    xor edi, edi
    ask_kernel SYS_EXIT

; Print the text at RDI, up to its zero byte. Changes RAX, RCX, RSI, R11.
say:
    mov rsi, rdi
.measure:
    lodsb
    test al, al
    jnz .measure
    sub rsi, rdi
    dec rsi
    ask_kernel SYS_WRITE
    ret

; Print RAX in decimal. Changes RAX, RCX, RDX, RSI, RDI, R11.
say_number:
    sub rsp, 24                     ; twenty digits and a zero are enough
    lea rdi, [rsp + 23]
    mov byte [rdi], 0
    mov ecx, 10
.divide:
    xor edx, edx
    div rcx
    add dl, '0'
    dec rdi
    mov [rdi], dl
    test rax, rax
    jnz .divide
    call say
    add rsp, 24
    ret

user_race:          db "three programs at once:", 10, 0
user_primes:        db " primes below 5000", 10, 0
user_collatz:       db " on the way from below 159600 to 1", 10, 0
user_mersenne:      db " primes 2^p - 1 with an odd p below 62", 10, 0
user_reached:       db " pages, each in another GiB of addresses, hold what was written", 10, 0
user_all_killed:    db "all crimes punished, everyone else is well", 10, 0
user_unpunished:    db "A CRIME WENT UNPUNISHED", 10, 0
user_slept:         db "slept well", 10, 0
times USER_TEXT_BYTES - ($ - $$) db 0

; ==== 9. Tables ====================================================================================================

section .kernel
align PAGE_BYTES, db 0              ; data begins on a page of its own
handlers:                           ; by vector
    times DOUBLE_FAULT dq exception
    dq double_fault
    times PAGE_FAULT - DOUBLE_FAULT - 1 dq exception
    dq page_fault
    times IRQ_VECTOR - PAGE_FAULT - 1 dq exception
    dq clock_interrupt
    times 15 dq spurious

calls:                              ; by number
    dq sys_exit, sys_write, sys_yield, sys_sleep, sys_start, sys_wait, sys_turns
CALLS           equ ($ - calls) / 8

programs:                           ; name, entry; init knows the order
    dq name_init, init_program
    dq name_primes, primes
    dq name_collatz, collatz
    dq name_mersenne, mersenne
    dq name_reach, reach
crimes:
    dq name_null, crime_null
    dq name_kernel, crime_kernel
    dq name_text, crime_text
    dq name_execute, crime_execute
    dq name_address, crime_address
    dq name_stack, crime_stack
    dq name_cli, crime_cli
    dq name_greed, crime_greed
CRIMES          equ ($ - crimes) / 16
PROGRAMS        equ ($ - programs) / 16

gdt_pointer:
    dw gdt_end - gdt - 1            ; limit: the last valid byte
    dq gdt                          ; ten bytes in 64-bit mode
idt_pointer:
    dw idt_end - idt - 1
    dq idt
align 8, db 0
print_to:           dq COM1
first_fresh:        dq FIRST_FRESH

; -- Global descriptor table. Base and limit of code and data are ignored in 64-bit mode --
align 8, db 0
gdt:
    dq 0                            ; selector 0 is never valid
    dq 0x00AF9B000000FFFF           ; 0x08 ring 0 code: L = 1, D = 0 say 64 bits
    dq 0x00CF93000000FFFF           ; 0x10 ring 0 data
    dq 0x00CFFB000000FFFF           ; 0x18 ring 3 code of 32 bits
    dq 0x00CFF3000000FFFF           ; 0x20 ring 3 data
    dq 0x00AFFB000000FFFF           ; 0x28 ring 3 code of 64 bits
    dw tss_end - tss - 1            ; 0x30 the TSS, sixteen bytes for its 64-bit base: limit 15:0
    dw ADDR(tss) & 0xFFFF           ;      base 15:0
    db (ADDR(tss) >> 16) & 0xFF     ;      base 23:16
    db 0x89                         ;      present, ring 0, 64-bit TSS, not busy
    db 0                            ;      limit 19:16, counted in bytes
    db (ADDR(tss) >> 24) & 0xFF     ;      base 31:24
    dd ADDR(tss) >> 32              ;      base 63:32
    dd 0
gdt_end:

; -- Interrupt descriptor table: gates of sixteen bytes --
%macro gate 2                       ; handler, which interrupt stack, 0 for none
    dw ADDR(%1) & 0xFFFF            ; offset 15:0
    dw KERNEL_CODE
    db %2, INTERRUPT_GATE
    dw (ADDR(%1) >> 16) & 0xFFFF    ; offset 31:16
    dd ADDR(%1) >> 32               ; offset 63:32
    dd 0
%endmacro
align 16, db 0
idt:
%assign vector 0
%rep VECTORS
%if vector == DOUBLE_FAULT
    gate trap_%[vector], FAULT_STACK
%else
    gate trap_%[vector], 0
%endif
%assign vector vector + 1
%endrep
idt_end:

; -- Task state segment: no registers any more, ten stacks --
align 16, db 0
tss:
    dd 0
tss_rsp0:
    dq 0                            ; what the CPU takes when it comes from ring 3 to ring 0
    times 3 dq 0                    ; the same for rings 1 and 2; reserved
    dq fault_stack_top              ; interrupt stack 1
    times 6 dq 0
    times 5 dw 0
    dw tss_end - tss                ; I/O bitmap behind the limit: ring 3 gets no ports
tss_end:

exception_names:
    dq name_divide, name_debug, name_nmi, name_breakpoint, name_overflow, name_bound
    dq name_opcode, name_no_fpu, name_double, name_reserved, name_tss, name_segment
    dq name_stack_fault, name_protection, name_page_fault, name_reserved, name_fpu, name_alignment
    times 14 dq name_reserved
fault_reasons:                      ; bit 0: present, bit 1: a write, bit 2: a fetch
    dq reason_read_absent, reason_read_denied, reason_write_absent, reason_write_denied
    dq reason_fetch_absent, reason_fetch_denied

name_divide:        db "divide error", 0
name_debug:         db "debug exception", 0
name_nmi:           db "non-maskable interrupt", 0
name_breakpoint:    db "breakpoint", 0
name_overflow:      db "overflow", 0
name_bound:         db "bound range exceeded", 0
name_opcode:        db "invalid opcode", 0
name_no_fpu:        db "no coprocessor", 0
name_double:        db "double fault", 0
name_tss:           db "invalid TSS", 0
name_segment:       db "segment not present", 0
name_stack_fault:   db "stack fault", 0
name_protection:    db "general protection", 0
name_page_fault:    db "page fault", 0
name_fpu:           db "coprocessor error", 0
name_alignment:     db "alignment check", 0
name_reserved:      db "unknown exception", 0
reason_read_absent:     db ": read, nothing there", 0
reason_read_denied:     db ": read, not allowed", 0
reason_write_absent:    db ": write, nothing there", 0
reason_write_denied:    db ": write, not allowed", 0
reason_fetch_absent:    db ": execute, nothing there", 0
reason_fetch_denied:    db ": execute, not allowed", 0

name_init:          db "init", 0
name_primes:        db "primes", 0
name_collatz:       db "collatz", 0
name_mersenne:      db "mersenne", 0
name_reach:         db "reach", 0
name_null:          db "null", 0
name_kernel:        db "kernel", 0
name_text:          db "text", 0
name_execute:       db "execute", 0
name_address:       db "address", 0
name_stack:         db "stack", 0
name_cli:           db "cli", 0
name_greed:         db "greed", 0

text_welcome:       db "teachos64: long mode, the kernel at FFFFFFFF80000000", 10, 0
text_survived:      db "no stack, double fault: taken on a stack of its own", 10, 0
text_open:          db "[", 0
text_colon:         db ": ", 0
text_at:            db " at ", 0
text_no_memory:     db ": out of memory", 0
text_killed:        db "; killed]", 10, 0
text_newline:       db 10, 0
text_panic:         db "panic: ", 0
text_asked:         db 10, "The machine is to be switched off.", 10, 0
text_halt:          db "halted: ", 0
text_processes:     db " processes, ", 0
text_brought:       db " pages brought on demand, ", 0
text_taken:         db " frames still taken", 10, 0
text_ticks:         db " ticks, ", 0
text_switches:      db " switches, ", 0
text_calls:         db " system calls", 10, 0
hex_digits:         db "0123456789ABCDEF"
align PAGE_BYTES, db 0
kernel_end:

; -- Memory that needs no place in the file; the loader clears it --
section .bss
boot_level4:        resb PAGE_BYTES
boot_level3:        resb PAGE_BYTES
boot_level2:        resb PAGE_BYTES
idle_stack:         resb PAGE_BYTES
idle_stack_top:
fault_stack:        resb PAGE_BYTES
fault_stack_top:
processes:          resb PROCESSES * PROCESS_BYTES
processes_end:
this_cpu:           resq 2          ; what GS leads to
current:            resq 1
kernel_entry:       resq 1          ; of the outermost table
rsp_before:         resq 1
free_list:          resq 1
frames_taken:       resq 1
last_pid:           resq 1
time_is_up:         resq 1
ticks:              resq 1
switches:           resq 1
system_calls:       resq 1
pages_brought:      resq 1
resb -($ - $$) & (PAGE_BYTES - 1)
memory_end:
FIRST_FRESH         equ memory_end - boot_level4 + kernel_end - kernel_start + KERNEL_START - KERNEL_BASE
