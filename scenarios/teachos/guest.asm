; teachos: an operating system to read in an evening.
;
; It boots, gives every process an address space of its own, lets a clock take the CPU
; away from those who do not give it back, reads a disk, and has a shell. Nothing is
; there for show: each part is the smallest one that does what its namesake does in an
; operating system that you use every day. Read it from the top:
;
;    1. Booting            from flat physical memory to a kernel in the upper gigabyte
;    2. Critical sections  how a kernel keeps interrupts out, and how it makes sure
;    3. Traps              the one way in and the one way out
;    4. Memory             frames, page tables, address spaces, copy-on-write
;    5. Page faults        three kinds: bring a page, copy a page, end a process
;    6. Processes          who runs next; sleep and wake
;    7. Life and death     spawn, fork, exit, wait
;    8. Devices            clock, console, disk; each has an interrupt
;    9. System calls       what a program can ask for
;   10. Saying things      numbers and texts on the console; panic
;   11. For a hypervisor   what only the second build has (see below)
;   12. Programs           what runs in ring 3: a shell and those it starts
;   13. Tables             descriptors, vectors, names
;
; Four rules hold throughout the kernel:
;  - EAX, ECX and EDX are scratch; every routine gives back all other registers as they were.
;  - DF is clear, so string instructions walk upwards.
;  - The kernel gives the CPU away only where it says so, by sleeping or on the way back
;    to ring 3. An interrupt may come in between, but it returns to where it came from.
;    So only data that interrupt handlers use too need a critical section.
;  - What the console shows does not depend on how fast the machine is. Counts that do
;    go to the debug console (port E9h).
;
; With PARAVIRT defined this becomes a kernel for a Xen-like hypervisor: section 11 has what
; it takes. It runs in ring 1 and knows it. Its interrupt flag is a byte in a page shared
; with the hypervisor, its page tables are checked before the CPU may use them and changed
; by request, the clock is an event, the console a hypercall, and the disk a copy in memory
; that came with the kernel. The programs do not change at all.
;
; Other guests include this file and bring a program of their own, with which init starts in the
; place of the shell: forkwait and compile-like. What they define in front of it:
;    FIRST_PROGRAM    the name of that program
;    OWN_PROGRAMS     a macro: rows for the table of programs
;    OWN_PAGES        so many pages of code and data in section .user, behind those of this file
;    NO_DISK          there is none
;    NO_CLOCK         no ticks: nobody loses the CPU, and nobody may sleep for a time
;    BALLOON          a driver through which a VMM asks for memory; see section 8
%ifndef FIRST_PROGRAM
%define FIRST_PROGRAM "sh"
%define OWN_PAGES 0
%endif

bits 32

; ---- Memory, as a process sees it ------------------------------------------------------
;   00400000  the programs, read-only, one copy for everyone
;   00500000  heap: pages come when they are first touched
;   BFFF0000  stack: likewise; grows downwards from C0000000
;   C0000000  the kernel: all physical memory, the same in every address space, ring 0 only
LOAD            equ 0x00100000      ; physical: the first address above video memory and firmware
KERNEL_BASE     equ 0xC0000000      ; physical address 0, as the kernel sees it
USER_TEXT       equ 0x00400000
USER_TEXT_BYTES equ (2 + OWN_PAGES) * PAGE_BYTES
HEAP            equ 0x00500000
HEAP_BYTES      equ 64 * PAGE_BYTES
STACK_TOP       equ KERNEL_BASE
STACK_BYTES     equ 16 * PAGE_BYTES
KERNEL_START    equ KERNEL_BASE + LOAD + PAGE_BYTES + USER_TEXT_BYTES
FRAMES          equ 1024            ; physical memory in pages: 4 MiB, as much as one large page maps
%define ADDR(label) (label - kernel_start + KERNEL_START) ; a label as a number that can be cut into pieces

; ---- The CPU's bits ----------------------------------------------------------------------
MULTIBOOT_MAGIC equ 0x1BADB002
MULTIBOOT_FLAGS equ 1 << 16         ; "the address fields below are valid"
CR0_WP          equ 1 << 16         ; read-only pages are read-only for ring 0 too
CR0_PG          equ 1 << 31         ; paging on
CR4_PSE         equ 1 << 4          ; page-directory entries may map 4 MiB themselves
PAGE_BYTES      equ 4096
ENTRIES         equ 1024            ; entries in a page directory or page table
PAGE_PRESENT    equ 1 << 0
PAGE_WRITE      equ 1 << 1
PAGE_USER       equ 1 << 2
PAGE_LARGE      equ 1 << 7          ; in a directory: no table, this entry maps 4 MiB
PAGE_COPY       equ 1 << 9          ; ours, the CPU ignores it: copy this page before writing
FAULT_PRESENT   equ 1 << 0          ; error code of a page fault: there, but not for this access
FAULT_WRITE     equ 1 << 1
FLAG_IF         equ 1 << 9          ; EFLAGS: interrupts enabled
FLAGS_FIXED     equ 1 << 1          ; EFLAGS: this bit is always 1

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

; ---- Devices -------------------------------------------------------------------------------
PIC1            equ 0x20            ; the two interrupt controllers: commands; masks are one higher
PIC2            equ 0xA0
PIC_INIT        equ 0x11            ; three more words follow
PIC_8086        equ 0x01
PIC_EOI         equ 0x20            ; "end of interrupt": the next one may come
PIC_READ_ISR    equ 0x0B            ; the next read tells which interrupts are being served
IRQ_VECTOR      equ 0x20            ; IRQ 0 to 15 arrive as vectors 20h to 2Fh
IRQ_TIMER       equ 0
%ifdef NO_CLOCK
CLOCK_LINE      equ 0
%else
CLOCK_LINE      equ 1 << IRQ_TIMER
%endif
IRQ_CASCADE     equ 2               ; where the second controller hangs on the first
IRQ_CONSOLE     equ 4
IRQ_DISK        equ 14
TIMER_CHANNEL   equ 0x40
TIMER_COMMAND   equ 0x43
TIMER_RATE      equ 0x34            ; channel 0, low byte then high, mode 2: one pulse every so many beats
TIMER_HZ        equ 1193182
TICKS_A_SECOND  equ 100

COM1            equ 0x3F8           ; first serial port: the console
UART_INTERRUPTS equ COM1 + 1
UART_FIFO       equ COM1 + 2
UART_LINE       equ COM1 + 3
UART_MODEM      equ COM1 + 4
UART_STATUS     equ COM1 + 5
UART_HAS_BYTE   equ 0x01
UART_HAS_ROOM   equ 0x20
DEBUG_CONSOLE   equ 0xE9

DISK_DATA       equ 0x1F0           ; first IDE channel
DISK_COUNT      equ 0x1F2
DISK_LBA        equ 0x1F3           ; and the two ports behind it
DISK_DRIVE      equ 0x1F6
DISK_COMMAND    equ 0x1F7           ; reading it gives the status, and takes the interrupt back
DISK_CONTROL    equ 0x3F6
DISK_MASTER_LBA equ 0xE0
DISK_READ       equ 0x20            ; READ SECTORS
DISK_BUSY       equ 0x80            ; status
DISK_READY      equ 0x40
DISK_DATA_READY equ 0x08
DISK_FAILED     equ 0x21            ; device fault, error
SECTOR_BYTES    equ 512

EXIT_PORT       equ 0xF4            ; value v ends the run with exit code (v << 1) | 1
%ifndef PARAVIRT
%ifndef NO_CLOCK                    ; guests that measure processes do without
%define ASKS                        ; a read of that port tells whether the run is to end
%endif
%endif
EXIT_OK         equ 0
EXIT_ASSERTION  equ 0x7E
EXIT_PANIC      equ 0x7F

; ---- System calls, by the number in EAX; arguments in EBX, ECX, EDX, the answer in EAX -----------
SYS_EXIT        equ 0               ; EBX: status
SYS_FORK        equ 1               ; the child's number; 0 in the child
SYS_SPAWN       equ 2               ; EBX: command line; the child's number
SYS_WAIT        equ 3               ; EBX: which child, 0 for any; its number, EDX: its status
SYS_GETPID      equ 4
SYS_YIELD       equ 5
SYS_SLEEP       equ 6               ; EBX: ticks
SYS_WRITE       equ 7               ; EBX: text, ECX: bytes
SYS_READ        equ 8               ; EBX: where to, ECX: bytes; reads one line; 0 at the end of input
SYS_PROCESS     equ 9               ; EBX: slot, ECX: where to put its record
SYS_TURNS       equ 10              ; how often this process has been given the CPU
SYS_FILE        equ 11              ; EBX: which, ECX: where to put its name and size
SYS_LOAD        equ 12              ; EBX: which, ECX: where to, EDX: which sector of it; bytes
SYS_HALT        equ 13
FAILED          equ -1
KILLED          equ -2              ; status of a process that did not end by itself

; ---- A process, in the kernel's table and as SYS_PROCESS tells ---------------------------------
P_STATE         equ 0
P_PID           equ 4
P_PARENT        equ 8               ; the parent's slot; told as its number
P_TURNS         equ 12
P_NAME          equ 16              ; 12 bytes, ending in zeros
P_TOLD_BYTES    equ 28
P_STATUS        equ 28              ; what it ended with
P_CHANNEL       equ 32              ; what it sleeps on
P_DEADLINE      equ 36              ; the tick that wakes it in any case
P_DIRECTORY     equ 40              ; its address space: physical address, as CR3 takes it
P_KERNEL_STACK  equ 44              ; a page; the CPU comes in at its end
P_KERNEL_ESP    equ 48              ; where it left off there
PROCESS_BYTES   equ 64
PROCESSES       equ 16

FREE            equ 0               ; states
NEW             equ 1               ; being made
READY           equ 2
RUNNING         equ 3
SLEEPING        equ 4
ZOMBIE          equ 5               ; has ended; its parent has not asked yet
NEVER           equ -1              ; a deadline

; ---- What lies on the kernel's stack after a trap ------------------------------------------------
F_ES            equ 0
F_DS            equ 4
F_EDI           equ 8               ; PUSHAD
F_ESI           equ 12
F_EBP           equ 16
F_EBX           equ 24
F_EDX           equ 28
F_ECX           equ 32
F_EAX           equ 36
F_VECTOR        equ 40              ; our own
F_ERROR         equ 44              ; the CPU's, or 0
F_EIP           equ 48              ; the CPU's
F_CS            equ 52
F_EFLAGS        equ 56
F_ESP           equ 60              ; these two only if it came from ring 3
F_SS            equ 64
FRAME_BYTES     equ 68

COMMAND_BYTES   equ 64              ; the longest command line, its final zero included
FILE_TOLD_BYTES equ 20              ; name (16 bytes), size

%ifdef PARAVIRT
; ---- The hypervisor: Xen's interface for a 32-bit guest -------------------------------------------
HYPERCALL_GATE  equ 0x82            ; EAX says which, EBX, ECX, EDX, ESI have its arguments
SET_TRAP_TABLE  equ 0
MMU_UPDATE      equ 1               ; change entries of page tables
SET_GDT         equ 2
STACK_SWITCH    equ 3
SET_CALLBACKS   equ 4
SCHED_OP        equ 6
MULTICALL       equ 13
UPDATE_MAPPING  equ 14              ; change the entry that maps an address
SET_TIMER       equ 15
EVENT_CHANNELS  equ 32
CONSOLE_IO      equ 18
IRET_CALL       equ 23
MMUEXT_OP       equ 26
PIN_DIRECTORY   equ 1               ; operations of MMUEXT_OP: check a page directory and keep it checked,
UNPIN           equ 4               ; let it go,
NEW_BASE        equ 5               ; load CR3,
FLUSH_TLB       equ 6
BLOCK           equ 1               ; commands of SCHED_OP: HLT with events let through,
SHUTDOWN        equ 2               ; the end
BIND_VIRQ       equ 1               ; command of EVENT_CHANNELS
VIRQ_TIMER      equ 0
CONSOLE_WRITE   equ 0               ; commands of CONSOLE_IO
CONSOLE_READ    equ 1
FLUSH_PAGE      equ 2               ; flag of UPDATE_MAPPING: forget the old entry of this page
DOMID_SELF      equ 0x7FF0          ; "my own"
MULTICALL_BYTES equ 32              ; number, answer, six arguments
START_SHARED    equ 36              ; in the start_info page: the shared page's machine address,
START_TABLES    equ 64              ; where the tables are that we start on,
START_TABLES_COUNT equ 68           ; how many pages,
START_FRAMES    equ 72              ; and the machine frame of each page that we have
UPCALL_PENDING  equ 0               ; in the shared page: an event waits,
UPCALL_MASK     equ 1               ; do not call me: what IF = 0 is on bare metal,
EVENT_WORDS     equ 4               ; in which words an event waits,
SHARED_CR2      equ 8               ; what CR2 is there,
SHARED_TIME     equ 48              ; nanoseconds since the start, when last written, 64 bits,
EVENTS_WAITING  equ 0x800           ; one bit for each channel: it has happened,
EVENTS_MASKED   equ 0x880           ; and do not call me for it
MASKS_EVENTS    equ 4               ; in the trap table: entering sets the mask, as a gate clears IF
MACHINE_PAGES   equ 0xFC000000      ; for each machine frame, which page of ours it is
NANOSECONDS_A_TICK equ 10000000

; Ask for something; the answer comes back in EAX.
%macro hypercall 1
    mov eax, %1
    int HYPERCALL_GATE
%endmacro
%endif

; Where the parts of the image lie, in this order; the loader puts them from 1 MiB on.
org LOAD
section .boot vstart=LOAD
section .user follows=.boot align=4096 vstart=USER_TEXT
section .kernel follows=.user align=4096 vstart=KERNEL_START
section .bss nobits vfollows=.kernel valign=4096

; Three abbreviations: push registers and pop them again, in the opposite order; and send a
; byte to a port, by way of AL and, where the port's number has more than 8 bits, EDX.
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
%macro write_port 2
    mov al, %2
%if %1 < 0x100
    out %1, al
%else
    mov edx, %1
    out dx, al
%endif
%endmacro

; What a kernel does to its interrupt flag and its page tables. On bare metal these are one
; instruction each, or none: an entry of a page table is a physical address with flags, and
; changing one is a store. For a hypervisor see section 11.
%ifdef PARAVIRT
%macro interrupts_off 0
    mov byte [shared_info + UPCALL_MASK], 1
%endmacro
%macro to_entry 0                   ; EAX: physical address and flags -> entry
    call machine_of
%endmacro
%macro from_entry 0                 ; EAX: entry -> physical address and flags
    call physical_of
%endmacro
%macro change_entry 0               ; EDX: where an entry in use is, EAX: what is to be there
    call request_change
%endmacro
%macro forget_page 1                ; the register has an address; changes count from here on
    call carry_out_changes
%endmacro
%macro forget_all 0                 ; the same for all addresses
    call carry_out_changes
%endmacro
%else
%macro interrupts_off 0
    cli
%endmacro
%macro to_entry 0                   ; EAX: physical address and flags -> entry
%endmacro
%macro from_entry 0                 ; EAX: entry -> physical address and flags
%endmacro
%macro change_entry 0               ; EDX: where an entry in use is, EAX: what is to be there
    mov [edx], eax
%endmacro
%macro forget_page 1                ; the register has an address; changes count from here on
    invlpg [%1]                     ; the TLB may have the old entry, and would not look again
%endmacro
%macro forget_all 0                 ; the same for all addresses
    mov eax, cr3
    mov cr3, eax
%endmacro
%endif

; ==== 1. Booting ====================================================================================

section .boot                       ; linked for physical addresses: this runs before paging
align 4
multiboot_header:
    dd MULTIBOOT_MAGIC
    dd MULTIBOOT_FLAGS
    dd -(MULTIBOOT_MAGIC + MULTIBOOT_FLAGS) ; the three add up to 0
    dd multiboot_header             ; where this header belongs in memory
    dd LOAD                         ; where the image begins
    dd kernel_end - KERNEL_BASE     ; where it ends
    dd memory_end - KERNEL_BASE     ; zeroed up to here
    dd boot                         ; first instruction

; The kernel is linked for addresses above 3 GiB, where only paging can put it; but paging
; has to be switched on by somebody. So map the same 4 MiB twice: where they are, for this
; code, and where the kernel wants to be. One directory entry each, with no table below:
; the kernel's memory is one large page, so it also takes only one entry of the TLB.
%ifndef PARAVIRT
boot:
    mov edi, boot_directory - KERNEL_BASE
    mov dword [edi], PAGE_LARGE | PAGE_WRITE | PAGE_PRESENT
    mov dword [edi + (KERNEL_BASE >> 22) * 4], PAGE_LARGE | PAGE_WRITE | PAGE_PRESENT
    mov eax, cr4
    or eax, CR4_PSE                 ; before the tables are used: the bit says how to read them
    mov cr4, eax
    mov cr3, edi
    mov eax, cr0
    or eax, CR0_PG | CR0_WP
    mov cr0, eax                    ; from the next instruction on every address goes through them
    mov eax, start
    jmp eax                         ; an absolute jump: a relative one would stay down here
%else

; Under the hypervisor paging is on from the start, on tables that came with the domain: every
; page at its own address. They are nearly what we need, but large pages are not to be had.
; So make a table for the kernel, and a directory with two entries: this new table, and the
; old one for as long as we execute here. ESI: the start_info page; ESP: the end of all that
; has been put behind the kernel.
%define LOW(label) (label - KERNEL_BASE)
boot:
    cld
    mov [LOW(start_info)], esi
    mov [LOW(first_free)], esp
    shr dword [LOW(first_free)], 12
    mov ebp, esi
    mov esi, [ebp + START_FRAMES]   ; the machine frame of each of our pages, in order
    mov [LOW(frame_list)], esi
    add dword [LOW(frame_list)], KERNEL_BASE
    mov edi, LOW(kernel_table)
    mov ecx, FRAMES
.next_page:
    lodsd
    shl eax, 12
    or eax, PAGE_WRITE | PAGE_PRESENT
    stosd
    loop .next_page

    ; Nobody may be able to write to what the hypervisor relies on: the GDT, the new tables and
    ; the old ones.
    mov eax, LOW(gdt)
    call .protect
    mov eax, LOW(kernel_table)
    call .protect
    or eax, PAGE_WRITE              ; the directory says so; the table's own entry does not
    mov [LOW(boot_directory) + (KERNEL_BASE >> 22) * 4], eax
    mov eax, LOW(boot_directory)
    call .protect
    mov ebx, eax
    shr ebx, 12
    mov [LOW(boot_operations) + 4], ebx
    mov [LOW(boot_operations) + 16], ebx
    mov esi, [ebp + START_TABLES]   ; the first of them is the directory
    mov eax, [esi]
    mov [LOW(boot_directory)], eax
    mov ecx, [ebp + START_TABLES_COUNT]
.old_table:
    mov eax, esi
    call .protect
    add esi, PAGE_BYTES
    loop .old_table
    mov eax, [ebp + START_SHARED]   ; the page that we share with the hypervisor
    or eax, PAGE_WRITE | PAGE_PRESENT
    mov edi, LOW(shared_info)
    shr edi, 10                     ; address / page size * bytes of an entry
    mov [LOW(kernel_table) + edi], eax

    ; The old table still lets us write to the new ones: give that up, too.
    mov ebx, LOW(kernel_table)
    call .give_up
    mov ebx, LOW(boot_directory)
    call .give_up
    mov ebx, LOW(boot_operations)   ; check the new directory, and load CR3 with it
    mov ecx, 2
    xor edx, edx
    mov esi, DOMID_SELF
    hypercall MMUEXT_OP
    mov eax, start
    jmp eax

; Make the page at EAX read-only in the new table. Returns its entry in EAX. Changes EDI.
.protect:
    mov edi, eax
    shr edi, 10
    mov eax, [LOW(kernel_table) + edi]
    and eax, ~PAGE_WRITE
    mov [LOW(kernel_table) + edi], eax
    ret

; Make the page at EBX read-only in the old table.
.give_up:
    mov edi, ebx
    shr edi, 10
    mov ecx, [LOW(kernel_table) + edi]
    mov edx, FLUSH_PAGE
    hypercall UPDATE_MAPPING
    ret
%endif
times PAGE_BYTES - ($ - $$) db 0    ; whole pages, so that the next part begins on one

section .kernel
kernel_start:
start:
    mov esp, idle_stack_top
    cld

    ; The loader's segments work, but nobody says where their table is: bring our own.
%ifdef PARAVIRT
    call leave_old_tables
%else
    lgdt [gdt_pointer]
%endif
    jmp KERNEL_CODE:.reload         ; CS changes only by a far transfer
.reload:
    mov eax, KERNEL_DATA
    mov ds, eax
    mov es, eax
    mov ss, eax
%ifdef PARAVIRT
    call register_handlers
%else
    lidt [idt_pointer]
    mov eax, TASK                   ; the task register leads to the TSS, and the TSS holds
    ltr ax                          ; the stack that the CPU takes when it comes from ring 3

    mov dword [boot_directory], 0   ; nobody executes down there any more: address 0 is
    forget_all                      ; to be a mistake from now on
    call start_console              ; first, or nobody would hear of a problem
    call start_interrupts
    call start_clock
    call start_disk
%endif
    mov esi, text_welcome
    call print
    call start_frames

    ; What runs here becomes the process that runs when no other can. It keeps this stack
    ; and this directory, and has slot 0, where nobody looks for a process to run.
    mov edi, processes
    mov [current], edi
    mov dword [edi + P_STATE], RUNNING
    mov dword [edi + P_DIRECTORY], boot_directory - KERNEL_BASE

    mov esi, text_init              ; the first process, which starts all others
    call spawn
    mov [init], edx
    cmp eax, FAILED
    je panic_no_init

; Interrupts must be on while the CPU sleeps, or nothing would ever wake it. But they must
; be off between the look for a process and the sleep: an interrupt there could wake a
; process, and HLT would sleep all the same. STI helps: it takes effect one instruction
; late, so nothing comes between it and HLT.
idle:
    call schedule
%ifdef PARAVIRT
    call block                      ; takes the mask off and sleeps, in one hypercall
%else
    sti
    hlt                             ; until an interrupt has been served
%endif
    interrupts_off
    jmp idle

; ==== 2. Critical sections ==========================================================================
; Data that an interrupt handler uses too must not be seen half changed. On one CPU it is
; enough to keep interrupts away: remember whether they were on, switch them off, and in
; the end bring back what was, since whoever called us may have had them off already.
;
; Three instructions do it: PUSHF, CLI, POPF. Two of them are innocent for a ring that is
; not allowed to touch IF: PUSHF tells the truth about somebody else's IF, and POPF changes
; nothing and says nothing. A kernel that is moved to such a ring without its knowledge is
; wrong about its own critical sections. So this one makes sure, each time.

; A recompiled kernel has no such trouble: it does not ask the CPU, whose IF is not its own.
%ifdef PARAVIRT
%macro push_flags 0
    push dword FLAGS_FIXED
    cmp byte [shared_info + UPCALL_MASK], 0
    jne %%masked
    or dword [esp], FLAG_IF
%%masked:
%endmacro
%macro pop_flags 0
    test dword [esp], FLAG_IF
    lea esp, [esp + 4]
    jz %%stays_off
    call interrupts_on
%%stays_off:
%endmacro
%else
%macro push_flags 0
    pushfd
%endmacro
%macro pop_flags 0
    popfd
%endmacro
%endif

; Begin: interrupts are off behind it. Changes nothing but the stack, by the flags to restore.
%macro begin_critical 1             ; name of the section, for the assertions
    push_flags                      ; whether they were on
    interrupts_off
    push_flags                      ; assertion: now they are off
    test dword [esp], FLAG_IF
    lea esp, [esp + 4]              ; unlike POP and ADD this keeps what TEST has found
    jz %%off
    mov esi, name_%1
    jmp interrupts_inside
%%off:
%endmacro

; End: interrupts are as they were before. Changes only the arithmetic flags.
%macro end_critical 1
    push dword [esp]                ; the flags of before, once to restore, once to compare
    pop_flags
    push_flags
    push eax
    mov eax, [esp + 4]              ; as they are
    xor eax, [esp + 8]              ; and as they were: 1 where they differ
    test eax, FLAG_IF
    pop eax
    lea esp, [esp + 8]
    jz %%as_before
    mov esi, name_%1
    jmp interrupts_not_restored
%%as_before:
%endmacro

interrupts_inside:
    mov edi, text_inside
    jmp assertion_failed
interrupts_not_restored:
    mov edi, text_not_restored
assertion_failed:
    interrupts_off
    push esi
    mov esi, text_panic
    call print
    mov esi, edi
    call print
    pop esi
    call print
    mov esi, text_close
    call print
    mov al, EXIT_ASSERTION
    jmp leave_machine

; ==== 3. Traps ======================================================================================
; Whatever interrupts a program, an exception, a device or INT 80h, the CPU pushes where it
; was and goes through the gate of that vector. The gates lead to stubs that push what tells
; them apart; then all are the same: save everything, call the handler, bring everything back.

; Exceptions for which the CPU pushes an error code, by bit; the others get a 0, so that all
; frames look the same.
HAS_ERROR_CODE  equ 1 << 8 | 1 << 10 | 1 << 11 | 1 << 12 | 1 << 13 | 1 << 14 | 1 << 17

%assign vector 0
%rep IRQ_VECTOR + 16
trap_%[vector]:
%if vector >= 32 || (HAS_ERROR_CODE >> vector & 1) == 0
    push dword 0
%endif
    push dword vector
    jmp trap
%assign vector vector + 1
%endrep

trap:
    pushad
    push ds
    push es
    mov eax, KERNEL_DATA            ; ring 3 may have put anything there
    mov ds, eax
    mov es, eax
    cld                             ; and into DF
    mov ebp, esp                    ; handlers find the frame here
    mov eax, [ebp + F_VECTOR]
    call [handlers + eax * 4]

; The way out. This is where a program loses the CPU, and the only place where it does so
; against its will: going back to ring 3 after the clock has said that its time is up.
trap_return:
    test dword [esp + F_CS], 3
    jz .restore                     ; back to the kernel: it must not be torn away
    cmp dword [time_is_up], 0
    je .restore
%ifdef BALLOON
    call look_at_balloon            ; here nobody is in the middle of taking a frame
%endif
    call yield
.restore:
    pop es
    pop ds
    popad
    add esp, 8                      ; vector and error code
%ifdef PARAVIRT
    push eax                        ; this kind of IRET wants EAX as well, and unlike a plain
    hypercall IRET_CALL             ; one of ring 1 it does as the frame says about IF
%else
    iretd
%endif

; INT 80h. A trap gate leaves IF alone: system calls can be interrupted like programs.
system_call:
    push dword 0
    push dword 0x80
    pushad
    push ds
    push es
    mov ebp, KERNEL_DATA            ; EAX to EDX say what the program wants
    mov ds, ebp
    mov es, ebp
    cld
    mov ebp, esp
    inc dword [system_calls]
    cmp eax, CALLS                  ; unsigned: negative numbers are refused as well
    jae .unknown
    call [calls + eax * 4]
    jmp .answer
.unknown:
    mov eax, FAILED
.answer:
    mov [ebp + F_EAX], eax
    jmp trap_return

; Any exception but a page fault. A program that caused it has to die; the kernel must not
; cause any.
exception:
    mov ebx, [ebp + F_VECTOR]
    mov esi, [exception_names + ebx * 4]
    test dword [ebp + F_CS], 3
    jz panic
    call begin_obituary
    call print
; Print the end of the line that tells why a process was killed, and kill it.
kill:
    mov esi, text_killed
    call print
    inc dword [killed]
    mov eax, KILLED
    jmp exit_process

; ==== 4. Memory =====================================================================================
; Physical memory is handed out in frames of 4 KiB. For each there is a count of the page
; tables that it appears in; 0 says that it is free.

; Everything above the kernel's image and below the end of memory is free.
start_frames:
    push edi
    mov edi, frame_users
    mov al, 1                       ; firmware, video memory, the kernel: never to be handed out
    mov ecx, [first_free]
    mov dword [free_frames], FRAMES
    sub [free_frames], ecx
    rep stosb
    pop edi
    ret

; Take a frame and clear it: what its last owner left there is not the next one's business.
; Returns its physical address in EAX. Whoever calls this has made sure that there is one.
take_frame:
    push edi
    mov edi, frame_users
    mov ecx, FRAMES
    xor eax, eax
    repne scasb                     ; the first byte that is 0
    jne panic_no_memory
    mov byte [edi - 1], 1
    dec dword [free_frames]
    lea eax, [edi - 1]
    sub eax, frame_users            ; which one it was
    shl eax, 12
    push eax
    lea edi, [eax + KERNEL_BASE]
    xor eax, eax
    mov ecx, PAGE_BYTES / 4
    rep stosd
    pop eax
    pop edi
    ret

; Say that one page table less needs the frame at the physical address in EAX, flags or not.
drop_frame:
    shr eax, 12
    dec byte [frame_users + eax]
    jnz .still_used
    inc dword [free_frames]
.still_used:
    ret

; Make an address space with the kernel in it, the programs, and a page of stack.
; Returns the directory's physical address in EAX, and in EDX the page of stack, as the
; kernel sees it.
make_space:
    save ebx, esi, edi
    call take_frame
    mov esi, eax                    ; the directory
    call take_frame
    mov ebx, eax                    ; its table for text and heap
    call take_frame
    mov edi, eax                    ; its table for the stack
    call take_frame                 ; the stack's first page
    lea edx, [eax + KERNEL_BASE]
    or eax, PAGE_USER | PAGE_WRITE | PAGE_PRESENT
    to_entry
    mov [edi + KERNEL_BASE + ((STACK_TOP - 1) >> 12 & 1023) * 4], eax

    ; The programs are in the kernel's image. Everyone gets the same frames, so nobody may
    ; write to them.
    xor ecx, ecx
.text:
    mov eax, ecx
    shl eax, 12
    add eax, (LOAD + PAGE_BYTES) | PAGE_USER | PAGE_PRESENT
    to_entry
    mov [ebx + KERNEL_BASE + (USER_TEXT >> 12 & 1023) * 4 + ecx * 4], eax
    inc byte [frame_users + ((LOAD + PAGE_BYTES) >> 12) + ecx]
    inc ecx
    cmp ecx, USER_TEXT_BYTES / PAGE_BYTES
    jb .text

    ; Both levels must let ring 3 in: be generous in the directory and strict in the tables.
    lea eax, [ebx + (PAGE_USER | PAGE_WRITE | PAGE_PRESENT)]
    to_entry
    mov [esi + KERNEL_BASE + (USER_TEXT >> 22) * 4], eax
    lea eax, [edi + (PAGE_USER | PAGE_WRITE | PAGE_PRESENT)]
    to_entry
    mov [esi + KERNEL_BASE + ((STACK_TOP - 1) >> 22) * 4], eax
    mov eax, [boot_directory + (KERNEL_BASE >> 22) * 4] ; the kernel is the same everywhere
    mov [esi + KERNEL_BASE + (KERNEL_BASE >> 22) * 4], eax
    mov eax, esi
%ifdef PARAVIRT
    call hand_over_space
%endif
    restore ebx, esi, edi
    ret

; Copy the address space of the current process, for fork. Returns the directory's physical
; address in EAX.
;
; A real copy would copy every page, and most for nothing: a child often does little before
; it ends. So both get the same frames, and lose the right to write to them. Who tries to
; write all the same causes a page fault, and that is the time to copy this one page.
copy_space:
    save ebx, esi, edi, ebp
    call take_frame
    push eax
    lea edi, [eax + KERNEL_BASE]    ; the child's directory
    mov esi, [current]
    mov esi, [esi + P_DIRECTORY]
    add esi, KERNEL_BASE            ; the parent's
    mov ecx, (KERNEL_BASE >> 22) * 4
    mov eax, [esi + ecx]
    mov [edi + ecx], eax            ; the kernel
.next_table:
    sub ecx, 4
    js .done
    mov eax, [esi + ecx]
    test eax, eax
    jz .next_table
    from_entry
    and eax, -PAGE_BYTES
    lea ebx, [eax + KERNEL_BASE]    ; the parent's table
    push ecx
    call take_frame
    mov ecx, [esp]
    lea ebp, [eax + KERNEL_BASE]    ; the child's
    or eax, PAGE_USER | PAGE_WRITE | PAGE_PRESENT
    to_entry
    mov [edi + ecx], eax
    xor ecx, ecx
.next_page:
    mov eax, [ebx + ecx * 4]
    test eax, eax
    jz .no_page
    test eax, PAGE_WRITE
    jz .share                       ; read-only, or shared already
    and eax, ~PAGE_WRITE
    or eax, PAGE_COPY
    lea edx, [ebx + ecx * 4]
    change_entry
.share:
    mov [ebp + ecx * 4], eax
    from_entry
    shr eax, 12
    inc byte [frame_users + eax]
.no_page:
    inc ecx
    cmp ecx, ENTRIES
    jb .next_page
    pop ecx
    jmp .next_table
.done:
    forget_all                      ; the TLB still believes that the parent may write
    pop eax
%ifdef PARAVIRT
    call hand_over_space
%endif
    restore ebx, esi, edi, ebp
    ret

; Give back an address space: all frames below the kernel, the tables, the directory. Nobody
; may be living in it. EAX: the directory's physical address.
drop_space:
%ifdef PARAVIRT
    call take_back_space
%endif
    save ebx, esi, edi, eax
    lea esi, [eax + KERNEL_BASE]
    mov edi, (KERNEL_BASE >> 22) * 4
.next_table:
    sub edi, 4
    js .done
    mov eax, [esi + edi]
    test eax, eax
    jz .next_table
    from_entry
    push eax
    and eax, -PAGE_BYTES
    lea ebx, [eax + KERNEL_BASE]
    mov ecx, ENTRIES
.next_page:
    mov eax, [ebx]
    add ebx, 4
    test eax, eax
    jz .no_page
    from_entry
    call drop_frame
.no_page:
    dec ecx
    jnz .next_page
    pop eax
    call drop_frame                 ; the table itself
    jmp .next_table
.done:
    restore ebx, esi, edi, eax
    jmp drop_frame

; Find the entry that maps the page of the current process at the address in EAX, for which
; there is a table. Returns in EDX where the entry is.
find_entry:
    mov ecx, eax
    mov edx, [current]
    mov edx, [edx + P_DIRECTORY]
    shr eax, 22                     ; bits 31:22 choose the directory entry
    mov eax, [edx + KERNEL_BASE + eax * 4]
    from_entry
    and eax, -PAGE_BYTES
    shr ecx, 12
    and ecx, ENTRIES - 1            ; bits 21:12 choose the entry in the table
    lea edx, [eax + KERNEL_BASE + ecx * 4]
    ret

; ==== 5. Page faults ================================================================================
; A page fault is a question: the CPU could not translate an address, and asks the kernel to
; do something about it before it tries the same instruction again. The kernel knows more
; than the page tables say. There are three answers:
;  - nothing is there yet, but the process may have memory there: bring a page of zeros;
;  - the page is shared until somebody writes to it, and that is now: make a copy;
;  - the process has no business there: it ends here.
page_fault:
%ifdef PARAVIRT
    mov ebx, [shared_info + SHARED_CR2] ; only ring 0 can read CR2 itself
%else
    mov ebx, cr2                    ; the address, before another fault can replace it
%endif
    test dword [ebp + F_ERROR], FAULT_PRESENT
    jnz .not_allowed

    lea eax, [ebx - HEAP]           ; one unsigned comparison for both ends
    cmp eax, HEAP_BYTES
    jb .bring
    lea eax, [ebx - (STACK_TOP - STACK_BYTES)]
    cmp eax, STACK_BYTES
    jae .crash
.bring:
    inc dword [pages_brought]
    call need_frame
    mov eax, ebx
    call find_entry
    mov esi, edx
    call take_frame
    or eax, PAGE_USER | PAGE_WRITE | PAGE_PRESENT
    to_entry
    mov edx, esi
    change_entry
    forget_page ebx
    ret

.not_allowed:
    test dword [ebp + F_ERROR], FAULT_WRITE
    jz .crash
    cmp ebx, KERNEL_BASE
    jae .crash
    mov eax, ebx
    call find_entry
    mov edi, edx
    mov eax, [edx]
    test eax, PAGE_COPY
    jz .crash
    inc dword [pages_copied]
    from_entry
    mov esi, eax
    shr eax, 12
    cmp byte [frame_users + eax], 1
    je .last_user                   ; all others have their copy or are gone: no need to
    call need_frame
    call take_frame
    push eax
    push edi
    lea edi, [eax + KERNEL_BASE]
    mov eax, esi
    and esi, -PAGE_BYTES
    add esi, KERNEL_BASE
    mov ecx, PAGE_BYTES / 4
    rep movsd
    call drop_frame
    pop edi
    pop esi
.last_user:
    mov eax, esi
    and eax, -PAGE_BYTES
    or eax, PAGE_USER | PAGE_WRITE | PAGE_PRESENT
    to_entry
    mov edx, edi
    change_entry
    forget_page ebx
    ret

.crash:
    mov esi, name_page_fault
    test dword [ebp + F_CS], 3
    jz panic
    call begin_obituary
    call print
    mov esi, text_at
    call print
    mov eax, ebx
    call print_hex
    mov eax, [ebp + F_ERROR]
    and eax, FAULT_WRITE | FAULT_PRESENT
    mov esi, [fault_reasons + eax * 4]
    call print
    jmp kill

; Make sure that there is a free frame, or end the process that needs one.
need_frame:
    cmp dword [free_frames], 0
    je .none
    ret
.none:
    call begin_obituary
    mov esi, text_no_memory
    call print
    jmp kill

; ==== 6. Processes ==================================================================================

; Give the CPU to the next process that can use it, in the order of the table, beginning
; behind the current one. Returns when the current one has its next turn. Interrupts are
; off, since their handlers wake processes; the caller has said what the current one is
; from now on: ready, sleeping or a zombie.
schedule:
    save ebx, esi, edi, ebp
    mov ebx, [current]
    mov edi, ebx
    mov ecx, PROCESSES
.next:
    add edi, PROCESS_BYTES
    cmp edi, processes_end
    jb .look
    mov edi, processes
.look:
    cmp dword [edi + P_STATE], READY
    je .switch
    dec ecx
    jnz .next
    mov edi, processes              ; nobody: the one that runs when no other can
.switch:
    mov dword [time_is_up], 0       ; whoever it is has a full slice before it
    cmp edi, processes
    je .idle                        ; which is never ready, and need not be
    mov dword [edi + P_STATE], RUNNING
.idle:
    cmp edi, ebx
    je .same
    inc dword [switches]
    inc dword [edi + P_TURNS]
    mov [current], edi

    ; Three things make a process: its address space, the stack that the CPU takes when
    ; it comes in from ring 3, and how far it has got in the kernel. The kernel, this code
    ; included, is in every address space, so it is safe to change that first.
    mov eax, [edi + P_DIRECTORY]
    mov edx, [edi + P_KERNEL_STACK]
    add edx, PAGE_BYTES
%ifdef PARAVIRT
    call switch_space
%else
    mov cr3, eax
    mov [tss_esp0], edx
%endif
    mov [ebx + P_KERNEL_ESP], esp
    mov esp, [edi + P_KERNEL_ESP]   ; here one becomes the other
.same:
    restore ebx, esi, edi, ebp
    ret

; Let others have a turn.
yield:
    push ebx
    begin_critical processes
    mov ebx, [current]
    mov dword [ebx + P_STATE], READY
    call schedule
    end_critical processes
    pop ebx
    ret

; Sleep until somebody wakes those who sleep on the number in EAX, or until the tick in EDX.
; To be called in a critical section: between the moment in which the caller finds that it
; must wait and the one in which it sleeps, nobody must be able to wake it.
sleep_on:
    push ebx
    mov ebx, [current]
    mov [ebx + P_CHANNEL], eax
    mov [ebx + P_DEADLINE], edx
    mov dword [ebx + P_STATE], SLEEPING
    call schedule
    pop ebx
    ret

; Wake all who sleep on the number in EAX. To be called with interrupts off.
wake:
    mov edx, processes
.next:
    cmp dword [edx + P_STATE], SLEEPING
    jne .not_this
    cmp [edx + P_CHANNEL], eax
    jne .not_this
    mov dword [edx + P_STATE], READY
.not_this:
    add edx, PROCESS_BYTES
    cmp edx, processes_end
    jb .next
    ret

; ==== 7. Life and death =============================================================================

; Find a free slot, and give it a number, a parent and a kernel stack. Returns the slot in
; EAX, or 0 if there is no room for another process.
make_process:
    push ebx
    cmp dword [free_frames], 8      ; directory, tables, stacks, and some to begin with
    jb .none
    begin_critical processes
    mov ebx, processes + PROCESS_BYTES
.look:
    cmp dword [ebx + P_STATE], FREE
    je .found
    add ebx, PROCESS_BYTES
    cmp ebx, processes_end
    jb .look
    end_critical processes
.none:
    pop ebx
    xor eax, eax
    ret
.found:
    mov dword [ebx + P_STATE], NEW  ; taken, but nobody is to run it yet
    end_critical processes
    inc dword [last_pid]
    mov eax, [last_pid]
    mov [ebx + P_PID], eax
    mov eax, [current]
    mov [ebx + P_PARENT], eax
    mov dword [ebx + P_TURNS], 0
    call take_frame
    add eax, KERNEL_BASE
    mov [ebx + P_KERNEL_STACK], eax

    ; It begins as if it had been interrupted in ring 3: at the end of its stack the frame
    ; that a trap would have left, and below it what `schedule` would have, as if called
    ; from where traps return.
    lea ecx, [eax + PAGE_BYTES - FRAME_BYTES]
    mov dword [ecx - 4], trap_return
    sub ecx, 4 + 16                 ; the four registers that it takes from the stack first
    mov [ebx + P_KERNEL_ESP], ecx
    mov eax, ebx
    pop ebx
    ret

; Start a program. ESI: command line, in the kernel's memory: COMMAND_BYTES of them.
; Returns its number in EAX, or FAILED; its slot in EDX.
spawn:
    save ebx, esi, edi, ebp
    mov ebp, esi
    mov ebx, programs
.search:
    mov esi, ebp
    mov edi, ebx
.compare:
    mov al, [edi]
    test al, al
    jz .end_of_name
    cmp al, [esi]
    jne .other
    inc esi
    inc edi
    jmp .compare
.end_of_name:                       ; the first word must end here, too
    cmp byte [esi], ' '
    jbe .found
.other:
    add ebx, PROGRAM_BYTES
    cmp ebx, programs_end
    jb .search
    mov eax, FAILED
    jmp .return

.found:
    call make_process
    test eax, eax
    mov edi, eax
    mov eax, FAILED
    jz .return
    mov eax, [ebx]                  ; its name, three times four bytes
    mov [edi + P_NAME], eax
    mov eax, [ebx + 4]
    mov [edi + P_NAME + 4], eax
    mov eax, [ebx + 8]
    mov [edi + P_NAME + 8], eax
    call make_space
    mov [edi + P_DIRECTORY], eax

    ; The command line goes to the top of the stack; the program finds it through EBX.
    save edi, esi
    mov esi, ebp
    lea edi, [edx + PAGE_BYTES - COMMAND_BYTES]
    mov ecx, COMMAND_BYTES / 4
    rep movsd
    restore edi, esi
    sub esi, ebp                    ; where its second word begins
    add esi, STACK_TOP - COMMAND_BYTES
    mov ecx, [edi + P_KERNEL_STACK]
    add ecx, PAGE_BYTES - FRAME_BYTES
    mov [ecx + F_EBX], esi
    mov dword [ecx + F_ES], USER_DATA
    mov dword [ecx + F_DS], USER_DATA
    mov eax, [ebx + PROGRAM_ENTRY]
    mov [ecx + F_EIP], eax
    mov dword [ecx + F_CS], USER_CODE
    mov dword [ecx + F_EFLAGS], FLAG_IF | FLAGS_FIXED
    mov dword [ecx + F_ESP], STACK_TOP - COMMAND_BYTES
    mov dword [ecx + F_SS], USER_DATA
    mov edx, edi
    mov eax, [edi + P_PID]
    mov dword [edi + P_STATE], READY ; last: from now on it may run
.return:
    restore ebx, esi, edi, ebp
    ret

; Make a second process that is like the current one in everything but its number. EBP: the
; frame. Returns the child's number; the child gets a 0.
fork:
    call make_process
    test eax, eax
    jz .failed
    mov ebx, eax
    mov esi, [current]
    mov eax, [esi + P_NAME]
    mov [ebx + P_NAME], eax
    mov eax, [esi + P_NAME + 4]
    mov [ebx + P_NAME + 4], eax
    mov eax, [esi + P_NAME + 8]
    mov [ebx + P_NAME + 8], eax
    call copy_space
    mov [ebx + P_DIRECTORY], eax
    mov esi, ebp
    mov edi, [ebx + P_KERNEL_STACK]
    add edi, PAGE_BYTES - FRAME_BYTES
    mov edx, edi
    mov ecx, FRAME_BYTES / 4
    rep movsd
    mov dword [edx + F_EAX], 0      ; what fork returns in the child
    mov eax, [ebx + P_PID]
    mov dword [ebx + P_STATE], READY
    ret
.failed:
    mov eax, FAILED
    ret

; End the current process. EAX: its status. It cannot free the stack that it stands on, nor
; the address space that it lives in: that is left to its parent.
exit_process:
    begin_critical processes
    mov ebx, [current]
    cmp ebx, [init]
    je panic_no_init
    mov [ebx + P_STATUS], eax
    mov edx, processes              ; orphans go to the first process, which waits for anyone
    mov ecx, [init]
.next:
    cmp [edx + P_PARENT], ebx
    jne .not_mine
    mov [edx + P_PARENT], ecx
.not_mine:
    add edx, PROCESS_BYTES
    cmp edx, processes_end
    jb .next
    mov eax, ecx                    ; who may have to look after one that has ended already
    call wake
    mov eax, [ebx + P_PARENT]       ; parents sleep on their own slot
    call wake
    mov dword [ebx + P_STATE], ZOMBIE
    call schedule                   ; for the last time

; Wait until a child has ended. EBX: its number, 0 for any. Returns the number in EAX, or
; FAILED if there is no such child; its status in EDX.
wait_process:
    mov edi, [current]
    begin_critical processes
.look:
    mov esi, processes
    xor ecx, ecx                    ; whether there is one at all
.next:
    cmp dword [esi + P_STATE], FREE
    je .not_this
    cmp [esi + P_PARENT], edi
    jne .not_this
    test ebx, ebx
    jz .candidate
    cmp [esi + P_PID], ebx
    jne .not_this
.candidate:
    inc ecx
    cmp dword [esi + P_STATE], ZOMBIE
    je .found
.not_this:
    add esi, PROCESS_BYTES
    cmp esi, processes_end
    jb .next
    test ecx, ecx
    jz .none
    mov eax, edi
    mov edx, NEVER
    call sleep_on
    jmp .look
.none:
    end_critical processes
    mov eax, FAILED
    ret
.found:
    end_critical processes          ; nobody else looks at our zombie: bury it with interrupts on
    mov eax, [esi + P_DIRECTORY]
    call drop_space
    mov eax, [esi + P_KERNEL_STACK]
    sub eax, KERNEL_BASE
    call drop_frame
    mov edx, [esi + P_STATUS]
    mov eax, [esi + P_PID]
    mov dword [esi + P_PARENT], 0
    mov dword [esi + P_STATE], FREE
    ret

; ==== 8. Devices ====================================================================================

%ifndef PARAVIRT
; The interrupt controllers: after reset they would send IRQ 0 to 7 to the vectors of
; exceptions. Move them to 20h, and let in only the lines that have a handler.
start_interrupts:
    write_port PIC1, PIC_INIT
    write_port PIC2, PIC_INIT
    write_port PIC1 + 1, IRQ_VECTOR
    write_port PIC2 + 1, IRQ_VECTOR + 8
    write_port PIC1 + 1, 1 << IRQ_CASCADE ; how they are connected: for the first by bit,
    write_port PIC2 + 1, IRQ_CASCADE ; for the second by number
    write_port PIC1 + 1, PIC_8086
    write_port PIC2 + 1, PIC_8086
    write_port PIC1 + 1, ~(CLOCK_LINE | 1 << IRQ_CASCADE | 1 << IRQ_CONSOLE) & 0xFF
    write_port PIC2 + 1, ~(1 << (IRQ_DISK - 8)) & 0xFF
    ret

; A controller answers with its line 7 if the request is gone when the CPU asks which one it
; was. Nothing is being served then, so there is nothing to end; but the first controller
; does not know that about a request of the second one.
spurious:
    cmp dword [ebp + F_VECTOR], IRQ_VECTOR + 15
    jne .done
    write_port PIC1, PIC_EOI
.done:
    ret

; -- The clock --
start_clock:
    write_port TIMER_COMMAND, TIMER_RATE
    write_port TIMER_CHANNEL, (TIMER_HZ / TICKS_A_SECOND) & 0xFF
    write_port TIMER_CHANNEL, (TIMER_HZ / TICKS_A_SECOND) >> 8
    ret
%endif

; IRQ 0, a hundred times a second.
clock_interrupt:
%ifndef PARAVIRT
    write_port PIC1, PIC_EOI        ; first: what follows may end in another process
%endif
    mov dword [time_is_up], 1       ; trap_return does the rest
%ifdef ASKS
    in al, EXIT_PORT                ; on a machine of its own this always reads 0; whoever runs
    test al, 1                      ; virtual ones can ask there for an end
    jnz asked_to_shut_down
%endif
    inc dword [ticks]
    mov eax, [ticks]
    mov edx, processes
.next:
    cmp dword [edx + P_STATE], SLEEPING
    jne .not_this
    cmp [edx + P_DEADLINE], eax     ; unsigned: NEVER is far away
    ja .not_this
    mov dword [edx + P_STATE], READY
.not_this:
    add edx, PROCESS_BYTES
    cmp edx, processes_end
    jb .next
    ret

%ifdef BALLOON
; -- The balloon --
; A VMM that is short of memory asks here for some of ours, and gives it back when it can. The
; driver takes frames as everybody does, and tells the VMM which: then nothing is behind them.
; It is not an interrupt handler's work, since take_frame may be under way beneath one.
BALLOON_SIGN    equ 0x5F0           ; reads "BALN" where there is a balloon
BALLOON_TARGET  equ 0x5F4           ; reads how many frames the VMM wants in it
BALLOON_RESULT  equ 0x5FC           ; reads 0 if what was last written was done
BALLOON_IN      equ 0x600           ; write the physical address of a list of frames: they go in
BALLOON_OUT     equ 0x604           ; the same: they come out
BALLOON_LIST    equ 64              ; frames at a time
BALLOON_SPARE   equ 64              ; frames that are not given away: some process may need one

; Bring the balloon nearer to what the VMM wants.
look_at_balloon:
    save ebx, esi, edi
    mov edx, BALLOON_SIGN
    in eax, dx
    cmp eax, 'BALN'
    jne .done                       ; a machine without one
    mov edx, BALLOON_TARGET
    in eax, dx
    mov esi, eax
    mov ebx, [balloon_count]
    mov dword [balloon_list], 0
    cmp ebx, esi
    ja .fewer
.more:
    cmp ebx, esi
    jae .hand_over
    cmp dword [balloon_list], BALLOON_LIST
    jae .hand_over
    cmp dword [free_frames], BALLOON_SPARE
    jbe .hand_over
    call take_frame
    shr eax, 12
    mov [balloon_frames + ebx * 2], ax
    inc ebx
    call put_on_list
    jmp .more
.hand_over:
    mov edx, BALLOON_IN
    call tell_balloon
    jmp .done

.fewer:
    cmp ebx, esi
    jbe .take_back
    cmp dword [balloon_list], BALLOON_LIST
    jae .take_back
    dec ebx
    movzx eax, word [balloon_frames + ebx * 2]
    call put_on_list
    jmp .fewer
.take_back:
    mov edx, BALLOON_OUT
    call tell_balloon
    mov esi, [balloon_list]
.free:
    mov eax, [balloon_list + esi * 4]
    shl eax, 12
    call drop_frame
    dec esi
    jnz .free
.done:
    restore ebx, esi, edi
    ret

; Add frame EAX to the list.
put_on_list:
    mov ecx, [balloon_list]
    inc ecx
    mov [balloon_list + ecx * 4], eax
    mov [balloon_list], ecx
    ret

; Hand the list, if there is anything on it, to port EDX; EBX frames are in the balloon then.
tell_balloon:
    cmp dword [balloon_list], 0
    je .nothing
    mov [balloon_count], ebx
    mov eax, balloon_list - KERNEL_BASE
    out dx, eax
    mov edx, BALLOON_RESULT
    in eax, dx
    mov esi, text_balloon
    test eax, eax
    jnz panic
.nothing:
    ret
%endif

; -- The console --
; Output is polled: the UART is fast, and a kernel in trouble must be able to speak. Input is
; not: who knows when it comes. The handler puts it into a ring, from which readers take it.
%ifndef PARAVIRT
start_console:
    write_port UART_LINE, 0x80      ; the next two bytes are the divisor of the speed,
    write_port COM1, 1
    write_port UART_INTERRUPTS, 0
    write_port UART_LINE, 3         ; from here on 8 bits, no parity, 1 stop bit
    write_port UART_FIFO, 0         ; no queue in the chip: we have our own
    write_port UART_MODEM, 0x0B     ; ready, and OUT2, which on a PC lets the interrupt through
    write_port UART_INTERRUPTS, 1   ; tell us of bytes that came in
    ret

; IRQ 4: take what there is. If the ring is full, let the rest wait in the chip and ask not
; to be told any more; the reader asks again when it has made room.
console_interrupt:
.next:
    mov edx, UART_STATUS
    in al, dx
    test al, UART_HAS_BYTE
    jz .done
    mov ecx, [input_head]
    mov ebx, ecx
    sub ebx, [input_tail]
    cmp ebx, INPUT_BYTES
    jae .full
    mov edx, COM1
    in al, dx
    and ecx, INPUT_BYTES - 1
    mov [input_ring + ecx], al
    inc dword [input_head]
    jmp .next
.full:
    write_port UART_INTERRUPTS, 0
.done:
    write_port PIC1, PIC_EOI
    mov eax, input_ring
    jmp wake
%endif

; Read a line. EBX: where to, ECX: how many bytes at most. Returns how many in EAX; 0 is the
; end of input, which is a line that begins with Ctrl-D.
;
; What somebody types comes first. But this system is to work with nobody there as well: if
; nothing has come for a while, and the line is still empty, the next line of a script is
; read as if it had been typed. Once somebody has typed, the script has only its last line
; left, and waits long before it says it.
read_line:
    mov edi, ebx
    mov edx, PAGE_WRITE
    call check_memory
    mov ebx, ecx
    jecxz .end
.next:
    cmp edi, [ebp + F_EBX]
    sete dl                         ; nothing in the line yet
    movzx edx, dl
    call read_byte
    cmp al, 4                       ; Ctrl-D
    je .end
    cmp al, 13                      ; terminals send what the key is called, "return"
    jne .keep
    mov al, 10
.keep:
    mov [edi], al                   ; may fault: the page comes when it is touched
    inc edi
    call put_byte                   ; the echo: when it is read, not when it comes in, so that
    cmp al, 10                      ; it stands behind what was printed before
    je .end
    dec ebx
    jnz .next
.end:
    mov eax, edi
    sub eax, [ebp + F_EBX]
    ret

; Take the next byte of input, and sleep until there is one. EDX: 1 if a line of the script
; may begin. Returns it in AL.
read_byte:
    push ebx
    mov ebx, edx
    begin_critical input
.again:
    mov ecx, [input_tail]
    cmp ecx, [input_head]
    jne .typed
    mov eax, [script]
    cmp dword [script_plays], 0
    jne .play
    mov eax, input_ring
    mov edx, [ticks]
    add edx, [patience]
    call sleep_on
    mov ecx, [input_tail]
    cmp ecx, [input_head]
    jne .typed
    mov eax, [script]
    cmp byte [eax], 0               ; it is over
    je .again
    test ebx, ebx
    jz .again
    mov dword [script_plays], 1
.play:
    inc dword [script]
    mov al, [eax]
    cmp al, 10
    jne .taken
    mov dword [script_plays], 0     ; one line at a time
    jmp .taken
.typed:
    mov dword [script], script_last_line
    mov dword [patience], PATIENCE_TYPING
    inc dword [input_tail]          ; interrupts are off: nobody puts anything there now
    and ecx, INPUT_BYTES - 1
%ifndef PARAVIRT
    write_port UART_INTERRUPTS, 1   ; there is room now
%endif
    mov al, [input_ring + ecx]
.taken:
    end_critical input
    pop ebx
    ret

; -- The disk --
; The driver asks for a sector and sleeps; the drive interrupts when it has it. One process at
; time: the others sleep until it is done. One sector is kept, with its number.
%ifndef PARAVIRT
start_disk:
    write_port DISK_CONTROL, 0      ; interrupts, please: firmware likes to do without
    ret

; IRQ 14. Reading the status tells the drive that we have heard.
disk_interrupt:
    mov edx, DISK_COMMAND
    in al, dx
    mov [disk_status], al
    mov dword [disk_has_answered], 1
    write_port PIC2, PIC_EOI        ; it came through both controllers
    write_port PIC1, PIC_EOI
    mov eax, disk_status
    jmp wake
%endif

; Have the disk for ourselves.
lock_disk:
    begin_critical disk
.look:
    cmp dword [disk_is_taken], 0
    je .take
    mov eax, disk_is_taken
    mov edx, NEVER
    call sleep_on
    jmp .look
.take:
    mov dword [disk_is_taken], 1
    end_critical disk
    ret

unlock_disk:
    begin_critical disk
    mov dword [disk_is_taken], 0
    mov eax, disk_is_taken
    call wake
    end_critical disk
    ret

; Bring a sector into `sector`. EAX: which. Returns with carry set if that did not work. The
; disk is locked.
%ifdef PARAVIRT
read_sector:                        ; from the copy that came with the kernel
    cmp eax, DISK_SECTORS
    cmc
    jc .return
    save esi, edi
    shl eax, 9
    lea esi, [eax + disk_copy]
    mov edi, sector
    mov ecx, SECTOR_BYTES / 4
    rep movsd
    restore esi, edi
    clc
.return:
    ret
%else
read_sector:
    cmp eax, [sector_number]
    je .have_it                     ; the comparison has left carry clear
    save ebx, edi
    mov ebx, eax
    mov dword [sector_number], -1
    write_port DISK_DRIVE, DISK_MASTER_LBA
    mov edx, DISK_COMMAND
    mov ecx, 100000
.ready:
    in al, dx
    and al, DISK_BUSY | DISK_READY
    cmp al, DISK_READY
    je .ask
    dec ecx
    jnz .ready
    jmp .failed                     ; no disk

.ask:
    begin_critical disk             ; it may answer before we sleep
    mov dword [disk_has_answered], 0
    write_port DISK_COUNT, 1
    mov eax, ebx
    inc edx                         ; DISK_LBA: three bytes, the lowest first
    out dx, al
    shr eax, 8
    inc edx
    out dx, al
    shr eax, 8
    inc edx
    out dx, al
    shr eax, 8
    and al, 0x0F                    ; and four bits with the drive
    or al, DISK_MASTER_LBA
    inc edx
    out dx, al
    write_port DISK_COMMAND, DISK_READ
    inc dword [disk_reads]
    mov edi, [ticks]
    add edi, TICKS_A_SECOND         ; a second is enough for any disk
.wait:
    cmp dword [disk_has_answered], 0
    jne .answered
    cmp [ticks], edi
    jae .answered
    mov eax, disk_status
    mov edx, edi
    call sleep_on
    jmp .wait
.answered:
    end_critical disk
    cmp dword [disk_has_answered], 0
    je .failed
    mov al, [disk_status]
    test al, DISK_FAILED
    jnz .failed
    test al, DISK_DATA_READY
    jz .failed
    mov edi, sector
    mov edx, DISK_DATA
    mov ecx, SECTOR_BYTES / 2
    rep insw
    mov [sector_number], ebx
    restore ebx, edi
.have_it:
    clc
    ret
.failed:
    restore ebx, edi
    stc
    ret
%endif

; The disk begins with a table of files, one sector: a header of 32 bytes, then 15 files.
FILE_MAGIC      equ "TEAC"          ; the first four bytes of "TEACHOS1"
FILE_BYTES      equ 32
FILE_START      equ 16              ; behind the name: its first sector
FILE_SIZE       equ 20              ; its length in bytes
FILES           equ 15

; Find a file in the table. EBX: which. Returns its entry in EAX, or 0 if there is none.
find_file:
    cmp ebx, FILES
    jae .none
    xor eax, eax
    call read_sector
    jc .none
    cmp dword [sector], FILE_MAGIC
    jne .none
    mov eax, ebx
    inc eax                         ; the header is as long as an entry
    shl eax, 5
    add eax, sector
    cmp byte [eax], 0               ; without a name: not used
    jne .return
.none:
    xor eax, eax
.return:
    ret

; Tell name and size of a file. EBX: which, ECX: where to. Returns 0, or FAILED.
tell_file:
    mov edi, ecx
    mov ebx, ecx
    mov ecx, FILE_TOLD_BYTES
    mov edx, PAGE_WRITE
    call check_memory
    mov ebx, [ebp + F_EBX]
    call lock_disk
    call find_file
    test eax, eax
    jz no_file
    mov esi, eax
    mov ecx, 4
    rep movsd                       ; the name
    mov ecx, [eax + FILE_SIZE]
    mov [edi], ecx
    call unlock_disk
    xor eax, eax
    ret
no_file:
    call unlock_disk
    mov eax, FAILED
    ret

; Copy a sector of a file to memory. EBX: which file, ECX: where to, EDX: which sector of it.
; Returns how many bytes of it belong to the file; 0 behind its end.
load_file:
    mov edi, ecx
    mov ebx, ecx
    mov ecx, SECTOR_BYTES
    mov edx, PAGE_WRITE
    call check_memory
    mov ebx, [ebp + F_EBX]
    call lock_disk
    call find_file
    test eax, eax
    jz no_file
    mov edx, [ebp + F_EDX]
    mov ecx, [eax + FILE_SIZE]
    mov ebx, ecx
    add ecx, SECTOR_BYTES - 1
    shr ecx, 9                      ; how many sectors it has
    cmp edx, ecx
    jae .behind
    mov eax, [eax + FILE_START]
    add eax, edx
    shl edx, 9
    sub ebx, edx                    ; bytes from here to its end
    cmp ebx, SECTOR_BYTES
    jbe .last
    mov ebx, SECTOR_BYTES
.last:
    call read_sector
    jc no_file
    mov esi, sector
    mov ecx, ebx
    rep movsb
    call unlock_disk
    mov eax, ebx
    ret
.behind:
    call unlock_disk
    xor eax, eax
    ret

; ==== 9. System calls ===============================================================================
; EBP: the frame; EBX, ECX and EDX are still the program's. The answer goes back in EAX. These
; may change all registers: the program's are in the frame.

sys_exit:
    mov eax, ebx
    jmp exit_process

sys_spawn:
    mov esi, ebx
    mov ecx, COMMAND_BYTES
    xor edx, edx
    call check_memory
    mov edi, command                ; the program will be looking for it in another address space
    mov ecx, COMMAND_BYTES / 4
    rep movsd
    mov byte [command + COMMAND_BYTES - 1], 0
    mov esi, command
    jmp spawn

sys_wait:
    call wait_process
    mov [ebp + F_EDX], edx
    ret

sys_getpid:
    mov eax, [current]
    mov eax, [eax + P_PID]
    ret

sys_yield:
    call yield
    xor eax, eax
    ret

sys_sleep:
    begin_critical clock
    add ebx, [ticks]
.look:
    cmp [ticks], ebx
    jae .enough
    xor eax, eax                    ; nobody wakes those who sleep on 0
    mov edx, ebx
    call sleep_on
    jmp .look
.enough:
    end_critical clock
    xor eax, eax
    ret

sys_write:
    xor edx, edx
    call check_memory
%ifdef PARAVIRT
    push ecx
    mov edx, ebx                    ; the whole text in one hypercall
    call write_console
    pop eax
    ret
%else
    mov esi, ebx
    mov ebx, ecx
.next:
    test ebx, ebx
    jz .done
    lodsb
    call put_byte
    dec ebx
    jmp .next
.done:
    mov eax, ecx
    ret
%endif

sys_process:
    mov edi, ecx
    cmp ebx, PROCESSES
    mov eax, FAILED
    jae .return
    mov esi, ebx
    shl esi, 6                      ; PROCESS_BYTES
    add esi, processes
    mov ebx, ecx
    mov ecx, P_TOLD_BYTES
    mov edx, PAGE_WRITE
    call check_memory
    mov edx, edi
    mov eax, [esi + P_PARENT]
    shr ecx, 2
    rep movsd
    test eax, eax
    jz .orphan
    mov eax, [eax + P_PID]          ; a slot is the kernel's business
.orphan:
    mov [edx + P_PARENT], eax
    xor eax, eax
.return:
    ret

sys_turns:
    mov eax, [current]
    mov eax, [eax + P_TURNS]
    ret

%ifdef ASKS
asked_to_shut_down:
    mov esi, text_asked
    call print
    ; and on, as if a program had asked
%endif

; End everything. What depends on the machine's speed goes to the debug console.
sys_halt:
    interrupts_off
    mov esi, text_halt
    call print
    mov eax, [pages_brought]
    call print_decimal
    mov esi, text_brought
    call print
    mov eax, [pages_copied]
    call print_decimal
    mov esi, text_copied
    call print
    mov eax, [killed]
    call print_decimal
    mov esi, text_were_killed
    call print
%ifndef PARAVIRT
    mov dword [print_to], DEBUG_CONSOLE
    mov ebx, statistics
.next:
    mov eax, [ebx]
    mov eax, [eax]
    call print_decimal
    mov esi, [ebx + 4]
    call print
    add ebx, 8
    cmp ebx, statistics_end
    jb .next
%endif
    mov al, EXIT_OK
leave_machine:
%ifdef PARAVIRT
    movzx ecx, al
    mov ebx, SHUTDOWN
    hypercall SCHED_OP
%else
    out EXIT_PORT, al
.halt:                              ; only reached where there is no exit port
    hlt
    jmp .halt
%endif

; Make sure that a program may use the memory that it wants us to use for it: ECX bytes at
; EBX, and EDX is PAGE_WRITE if we are to write there. Then all that can happen to us there
; is a page fault that brings or copies a page. If it may not, the call that was asked for
; ends here, with FAILED. Changes EAX only.
check_memory:
    mov eax, ebx
    sub eax, HEAP
    cmp eax, HEAP_BYTES
    jb .heap
    mov eax, ebx
    sub eax, STACK_TOP - STACK_BYTES
    cmp eax, STACK_BYTES
    jb .stack
    test edx, edx
    jnz .refused                    ; the programs themselves can only be read
    mov eax, ebx
    sub eax, USER_TEXT
    cmp eax, USER_TEXT_BYTES
    jae .refused
    sub eax, USER_TEXT_BYTES
    jmp .length
.heap:
    sub eax, HEAP_BYTES
    jmp .length
.stack:
    sub eax, STACK_BYTES
.length:
    neg eax                         ; bytes from there to the end of the region
    cmp ecx, eax
    ja .refused
    ret
.refused:
    add esp, 4                      ; not back to the call, but to where calls return to
    mov eax, FAILED
    ret

; ==== 10. Saying things =============================================================================

; Send the byte in AL. Changes no register.
%ifdef PARAVIRT
put_byte:
    save eax, ecx, edx
    lea edx, [esp + 8]              ; where EAX is: the byte is a text of length 1
    mov ecx, 1
    call write_console
    restore eax, ecx, edx
    ret
%else
put_byte:
    save edx, eax
    mov edx, [print_to]
    cmp edx, COM1
    jne .send                       ; the debug console always has room
    mov edx, UART_STATUS
.wait:
    in al, dx
    test al, UART_HAS_ROOM
    jz .wait
    mov edx, COM1
.send:
    mov eax, [esp]
    out dx, al
    restore edx, eax
    ret
%endif

; Print the text at ESI, up to its zero byte. Changes EAX and ESI.
print:
    lodsb
    test al, al
    jz .done
    call put_byte
    jmp print
.done:
    ret

; Print EAX in decimal.
print_decimal:
    push ebx
    mov ebx, 10
    xor ecx, ecx                    ; digits on the stack
.divide:                            ; the last digit comes out first,
    xor edx, edx
    div ebx
    push edx
    inc ecx
    test eax, eax
    jnz .divide
.digit:                             ; so the stack turns them round
    pop eax
    add al, '0'
    call put_byte
    dec ecx
    jnz .digit
    pop ebx
    ret

; Print EAX as eight hexadecimal digits.
print_hex:
    mov edx, eax
    mov ecx, 8
.digit:
    rol edx, 4
    mov eax, edx
    and eax, 15
    mov al, [hex_digits + eax]
    call put_byte
    dec ecx
    jnz .digit
    ret

; Begin a line about the current process that is about to be killed. Keeps ESI.
begin_obituary:
    push esi
    mov al, '['
    call put_byte
    mov esi, [current]
    mov eax, [esi + P_PID]
    call print_decimal
    mov al, ' '
    call put_byte
    add esi, P_NAME
    call print
    mov esi, text_close_space
    call print
    pop esi
    ret

; The kernel cannot go on. ESI: why.
panic_no_init:
    mov esi, text_no_init
    jmp panic
panic_no_memory:
    mov esi, text_no_memory
    jmp panic
panic:
    interrupts_off
    push esi
    mov esi, text_panic
    call print
    pop esi
    call print
    mov al, 10
    call put_byte
    mov al, EXIT_PANIC
    jmp leave_machine

%ifdef PARAVIRT
; ==== 11. For a hypervisor ==========================================================================
; All that only ring 0 may do, as requests. Registers: these routines change none, unless they
; say so.

; The new tables are in use: drop the old ones, and have the segments checked. Nobody may be
; able to write to the GDT then, and the old tables would still have allowed it.
leave_old_tables:
    pushad
    mov edx, boot_directory         ; nobody executes down there any more: address 0 is to be
    xor eax, eax                    ; a mistake from now on
    change_entry
    forget_all
    mov eax, [start_info]
    mov eax, [eax + KERNEL_BASE + START_TABLES]
    mov ebx, UNPIN
    call operate
    mov eax, gdt - KERNEL_BASE
    call machine_of
    shr eax, 12
    push eax
    mov ebx, esp                    ; a list of one frame
    mov ecx, (gdt_end - gdt) / 8
    hypercall SET_GDT
    pop eax
    popad
    ret

; Say where exceptions, system calls and events go; have an event for each tick of the clock.
register_handlers:
    pushad
    mov ebx, trap_table
    hypercall SET_TRAP_TABLE
    mov ebx, KERNEL_CODE
    mov ecx, event_entry
    mov edx, KERNEL_CODE
    mov esi, panic_failsafe
    hypercall SET_CALLBACKS
    mov ebx, KERNEL_DATA
    mov ecx, idle_stack_top
    hypercall STACK_SWITCH
    mov ebx, BIND_VIRQ
    mov ecx, clock_channel
    hypercall EVENT_CHANNELS
%ifndef NO_CLOCK
    mov eax, [clock_channel + 8]    ; which channel we got
    btr [shared_info + EVENTS_MASKED], eax
%endif
    popad
    ret

; Something has happened outside. The mask is set: this is where a gate would have cleared IF.
event_entry:
    push dword 0
    push dword IRQ_VECTOR           ; from here on it is like an interrupt
    jmp trap

; There is one channel, so all there is to find out is whether it was that one.
events:
    mov byte [shared_info + UPCALL_PENDING], 0 ; before the look: what comes now calls us again
    xor eax, eax
    xchg [shared_info + EVENT_WORDS], eax
    mov eax, [clock_channel + 8]
    btr [shared_info + EVENTS_WAITING], eax
    jnc .done
    call take_input
    jmp clock_interrupt
.done:
    ret

; Let events through. What came while they were masked has to be asked for: the hypervisor
; looks at the mask on its own way out only. Keeps the flags as well.
interrupts_on:
    mov byte [shared_info + UPCALL_MASK], 0
    cmp byte [shared_info + UPCALL_PENDING], 0
    je .none
    pushad
    mov ebx, CONSOLE_WRITE          ; any call will do: this one prints nothing
    xor ecx, ecx
    xor edx, edx
    hypercall CONSOLE_IO
    popad
.none:
    ret

; Sleep until an event. A running kernel is told of every tick, but one that sleeps is not,
; unless it asks to be woken.
block:
    pushad
    mov ebx, [shared_info + SHARED_TIME]
    mov ecx, [shared_info + SHARED_TIME + 4]
    add ebx, NANOSECONDS_A_TICK
    adc ecx, 0
    hypercall SET_TIMER
    mov ebx, BLOCK
    xor ecx, ecx
    hypercall SCHED_OP
    popad
    ret

; Live in the address space at EAX, and let the CPU come in from ring 3 on the stack at EDX:
; two calls for the price of one.
switch_space:
    pushad
    mov [switch_calls + 12], edx    ; second argument of STACK_SWITCH
    call machine_of
    shr eax, 12
    mov [switch_operation + 4], eax
    mov ebx, switch_calls
    mov ecx, 2
    hypercall MULTICALL
    popad
    ret

; EAX: a physical address and flags. Returns the machine address and the same flags.
machine_of:
    push ecx
    mov ecx, eax
    shr ecx, 12
    shl ecx, 2
    add ecx, [frame_list]
    mov ecx, [ecx]
    shl ecx, 12
    and eax, PAGE_BYTES - 1
    or eax, ecx
    pop ecx
    ret

; EAX: a machine address and flags. Returns the physical address and the same flags.
physical_of:
    push ecx
    mov ecx, eax
    shr ecx, 12
    mov ecx, [MACHINE_PAGES + ecx * 4]
    shl ecx, 12
    and eax, PAGE_BYTES - 1
    or eax, ecx
    pop ecx
    ret

; Put a change of a page table on the list: EDX: where the entry is, EAX: what is to be there.
; A fork changes many; the way to the hypervisor is long, so they go there together.
request_change:
    save eax, edx
    cmp dword [changes], CHANGES
    jb .room
    call carry_out_changes
.room:
    mov eax, [changes]
    shl eax, 4                      ; four words each: machine address, value, 64 bits each
    add eax, change_list
    xchg eax, edx
    sub eax, KERNEL_BASE
    call machine_of
    mov [edx], eax                  ; its low two bits are 0: an ordinary change
    mov eax, [esp + 4]              ; EAX as it was
    mov [edx + 8], eax
    inc dword [changes]
    restore eax, edx
    ret

; Have them carried out, and the TLB flushed.
carry_out_changes:
    pushad
    mov eax, [changes]
    mov [change_calls + 12], eax    ; second argument of MMU_UPDATE
    mov ebx, change_calls
    mov ecx, 2
    hypercall MULTICALL
    mov eax, [change_calls + 4]
    or eax, [change_calls + MULTICALL_BYTES + 4]
    jnz panic_refused
    mov dword [changes], 0
    popad
    ret

; Have the new address space at EAX checked, so that the CPU may use it: give up the right to
; write to its tables, then pin the directory.
hand_over_space:
    pushad
    xor edx, edx                    ; read-only
    call set_rights
    mov ebx, PIN_DIRECTORY
    call operate
    popad
    ret

; The opposite: nobody lives there any more, its tables are to become ordinary memory.
take_back_space:
    pushad
    mov ebx, UNPIN
    call operate
    mov edx, PAGE_WRITE
    call set_rights
    popad
    ret

; Do the operation in EBX to the directory at EAX. Changes EBX to ESI.
operate:
    push eax
    call machine_of
    shr eax, 12
    push dword 0
    push eax
    push ebx
    mov ebx, esp                    ; a list of one operation
    mov ecx, 1
    xor edx, edx
    mov esi, DOMID_SELF
    hypercall MMUEXT_OP
    test eax, eax
    jnz panic_refused
    add esp, 12
    pop eax
    ret

; Let the kernel write to the tables of the address space at EAX if EDX is PAGE_WRITE, and not
; if it is 0. Changes EBX to EDI.
set_rights:
    push eax
    mov edi, edx
    lea esi, [eax + KERNEL_BASE]
    call .set
    mov ecx, (KERNEL_BASE >> 22)
.next:
    dec ecx
    js .done
    mov eax, [esi + ecx * 4]
    test eax, eax
    jz .next
    push ecx
    from_entry
    and eax, -PAGE_BYTES
    call .set
    pop ecx
    jmp .next
.done:
    pop eax
    ret
.set:
    lea ebx, [eax + KERNEL_BASE]
    or eax, PAGE_PRESENT
    or eax, edi
    call machine_of
    mov ecx, eax
    mov edx, FLUSH_PAGE
    hypercall UPDATE_MAPPING
    test eax, eax
    jnz panic_refused
    ret

; Print ECX bytes at EDX. Changes EAX.
write_console:
    push ebx
    mov ebx, CONSOLE_WRITE
    hypercall CONSOLE_IO
    pop ebx
    ret

; Take what was typed, as far as there is room; nobody tells us, so look at every tick.
take_input:
    pushad
.next:
    mov eax, [input_head]
    sub eax, [input_tail]
    cmp eax, INPUT_BYTES
    jae .done
    mov edx, [input_head]
    and edx, INPUT_BYTES - 1
    add edx, input_ring
    mov ecx, 1
    mov ebx, CONSOLE_READ
    hypercall CONSOLE_IO
    cmp eax, 1                      ; how many there were
    jne .done
    inc dword [input_head]
    mov eax, input_ring
    call wake
    jmp .next
.done:
    popad
    ret

panic_failsafe:
    mov esi, text_failsafe
    jmp panic
panic_refused:
    mov esi, text_refused
    jmp panic

; What the calls above refer to.
align PAGE_BYTES, db 0
boot_operations:
    dd PIN_DIRECTORY, 0, 0
    dd NEW_BASE, 0, 0
switch_calls:
    dd STACK_SWITCH, 0, KERNEL_DATA, 0, 0, 0, 0, 0
    dd MMUEXT_OP, 0, switch_operation, 1, 0, DOMID_SELF, 0, 0
switch_operation:
    dd NEW_BASE, 0, 0
change_calls:
    dd MMU_UPDATE, 0, change_list, 0, 0, DOMID_SELF, 0, 0
    dd MMUEXT_OP, 0, flush_operation, 1, 0, DOMID_SELF, 0, 0
flush_operation:
    dd FLUSH_TLB, 0, 0
clock_channel:
    dd VIRQ_TIMER, 0, 0             ; which, for which CPU, answer: the channel
start_info:         dd 0
frame_list:         dd 0            ; where it is, as the kernel sees it
changes:            dd 0            ; how many are on the list
CHANGES             equ 32
change_list:        times CHANGES * 4 dd 0
text_failsafe:      db "a return to ring 3 has failed", 0
text_refused:       db "the hypervisor has refused a request", 0

; The gates, as a list.
%macro trap_gate 3                  ; vector, for which ring and how, handler
    db %1, %2
    dw KERNEL_CODE
    dd %3
%endmacro
align 4, db 0
trap_table:
%assign vector 0
%rep IRQ_VECTOR
    trap_gate vector, MASKS_EVENTS, trap_%[vector]
%assign vector vector + 1
%endrep
    trap_gate 0x80, 3, system_call  ; ring 3 may, and events may: a gate can do that alone
    trap_gate 0, 0, 0               ; the end
%endif

; ==== 12. Programs ==================================================================================
; Ring 3 begins here. All programs share these pages, which none can write to; what differs
; is where they begin. They find their arguments at EBX, and know nothing of the kernel but
; the numbers of its calls.

section .user
%macro ask_kernel 1
    mov eax, %1
    int 0x80
%endmacro

LINE            equ HEAP            ; where programs keep things
RECORD          equ HEAP + COMMAND_BYTES
BUFFER          equ HEAP + SECTOR_BYTES
ENOUGH_TURNS    equ 8

; -- init: starts the shell, buries orphans, and switches off when the shell has ended --
init_program:
    mov ebx, user_sh
    ask_kernel SYS_SPAWN
    mov esi, eax
.wait:
    xor ebx, ebx
    ask_kernel SYS_WAIT
    cmp eax, esi
    jne .wait
    ask_kernel SYS_HALT

; -- sh: reads a line, starts what it names, waits for it --
sh:
    mov esi, user_prompt
    call say
    mov ebx, LINE
    mov ecx, COMMAND_BYTES
    ask_kernel SYS_READ
    test eax, eax
    jz .end_of_input
    mov byte [LINE + eax - 1], 0    ; the line feed
.marker_line:
    mov ebx, own_commands
.search:
    mov esi, LINE
    mov edi, [ebx]
    test edi, edi
    jz .start
    call same_word
    je .own
    add ebx, 8
    jmp .search
.own:
    call [ebx + 4]
    jmp sh
.start:
    cmp byte [LINE], 0
    je sh
    mov ebx, LINE
    ask_kernel SYS_SPAWN
    cmp eax, FAILED
    je .unknown
    mov ebx, eax
    ask_kernel SYS_WAIT
    jmp sh
.unknown:
    mov esi, user_unknown
    call say
    mov esi, LINE
    call say
    call say_newline
    jmp sh
.end_of_input:
    call say_newline
sh_halt:
    xor ebx, ebx
    ask_kernel SYS_EXIT

; ESI: the rest of the line.
sh_echo:
    call skip_spaces
    call say
    jmp say_newline

sh_help:
    mov esi, user_help
    jmp say

; Three programs that never give the CPU away. The clock takes it from them; otherwise the
; second would not begin before the first has ended, and `ps` not before all three.
sh_race:
    mov edi, race
.start:
    mov ebx, [edi]
    ask_kernel SYS_SPAWN
    push eax
    add edi, 8
    cmp edi, race_end
    jb .start
    mov ebx, user_ps
    ask_kernel SYS_SPAWN
    mov ebx, eax
    ask_kernel SYS_WAIT
    mov edi, race
    mov ebp, esp
.wait:
    mov ebx, [ebp + (race_end - race) / 2 - 4] ; the first that was pushed
    ask_kernel SYS_WAIT
    mov esi, [edi]
    call say
    mov esi, user_found
    call say
    mov eax, edx
    call say_number
    mov esi, [edi + 4]
    call say
    sub ebp, 4
    add edi, 8
    cmp edi, race_end
    jb .wait
    add esp, (race_end - race) / 2
    mov esi, user_turns
    jmp say

; -- ps: who is there --
ps:
    mov ebx, 2                      ; who has started us may be on its way to wait for us, or
    ask_kernel SYS_SLEEP            ; may have lost the CPU there: let everyone get to where they go
    mov esi, user_ps_title
    call say
    xor ebx, ebx
.next:
    inc ebx                         ; slot 0 is the kernel's own
    mov ecx, RECORD
    ask_kernel SYS_PROCESS
    cmp eax, FAILED
    je .done
    mov edi, [RECORD + P_STATE]
    test edi, edi
    jz .next
    mov eax, [RECORD + P_PID]
    call say_column
    mov eax, [RECORD + P_PARENT]
    call say_column
    mov esi, [state_names + edi * 4]
    call say
    mov esi, RECORD + P_NAME
    call say
    call say_newline
    jmp .next
.done:
    xor ebx, ebx
    ask_kernel SYS_EXIT

; -- ls: which files there are --
ls:
    xor ebx, ebx
.next:
    mov ecx, RECORD
    ask_kernel SYS_FILE
    cmp eax, FAILED
    je .done
    mov eax, [RECORD + 16]
    call say_column
    mov esi, RECORD
    call say
    call say_newline
    inc ebx
    jmp .next
.done:
    xor ebx, ebx
    ask_kernel SYS_EXIT

; -- cat: shows a file, one sector after the other --
cat:
    mov esi, ebx
    call skip_spaces
    mov ebp, esi                    ; its name
    xor ebx, ebx
.search:
    mov ecx, RECORD
    ask_kernel SYS_FILE
    cmp eax, FAILED
    je .unknown
    mov esi, ebp
    mov edi, RECORD
    call same_word
    je .found
    inc ebx
    jmp .search
.found:
    mov ebp, ebx                    ; its number
    xor edi, edi                    ; sectors so far
.next:
    mov ebx, ebp
    mov ecx, BUFFER
    mov edx, edi
    ask_kernel SYS_LOAD
    test eax, eax
    jle .done
    mov ebx, BUFFER
    mov ecx, eax
    ask_kernel SYS_WRITE
    inc edi
    jmp .next
.unknown:
    mov esi, user_no_file
    call say
    mov esi, ebp
    call say
    call say_newline
.done:
    xor ebx, ebx
    ask_kernel SYS_EXIT

; -- fork: one page, two processes --
fork_program:
    mov dword [HEAP], 1             ; the page comes now
    ask_kernel SYS_FORK
    test eax, eax
    jz .child
    mov esi, eax
    ask_kernel SYS_YIELD            ; the child may go first, or not: nobody will notice
    mov ebx, esi
    ask_kernel SYS_WAIT
    mov esi, user_child_said
    call say
    mov eax, edx
    call say_number
    mov esi, user_parent_finds
    call say
    mov eax, [HEAP]
    call say_number
    call say_newline
    xor ebx, ebx
    ask_kernel SYS_EXIT
.child:
    mov esi, user_child_finds
    call say
    mov eax, [HEAP]                 ; still the same frame
    call say_number
    inc dword [HEAP]                ; and now it is not
    mov ebx, 3
    ask_kernel SYS_SLEEP
    mov esi, user_child_has
    call say
    mov eax, [HEAP]
    call say_number
    call say_newline
    mov ebx, [HEAP]
    ask_kernel SYS_EXIT

; -- crash: six children do what they must not do --
crash:
    mov edi, crimes
.next:
    mov ebp, esp                    ; the child of the fourth crime ruins its stack, not ours
    ask_kernel SYS_FORK
    test eax, eax
    jz .child
    mov ebx, eax
    ask_kernel SYS_WAIT
    cmp edx, KILLED
    jne .survived
    add edi, 4
    cmp edi, crimes_end
    jb .next
    mov esi, user_crashed
    jmp .end
.child:
    call [edi]
    xor ebx, ebx                    ; not reached
    ask_kernel SYS_EXIT
.survived:
    mov esi, user_survived
.end:
    call say
    xor ebx, ebx
    ask_kernel SYS_EXIT

crime_kernel:
    mov dword [KERNEL_BASE + LOAD], 0 ; there, but not for ring 3
    ret
crime_null:
    mov eax, [0]                    ; nobody ever has memory there
    ret
crime_text:
    mov byte [crash], 0             ; everyone's programs: to be read only
    ret
crime_stack:
    call crime_stack                ; for ever: 16 pages come, and then no more
    ret
crime_divide:
    xor ecx, ecx
    div ecx
    ret
crime_cli:
    cli                             ; ring 3 may not
    ret

; -- The three of the race. They compute the same thing again until they had enough turns. --
primes:                             ; by division
    mov esi, 1                      ; 2 is one
    mov ebx, 3
.candidate:
    mov ecx, 3
.divide:
    mov eax, ecx
    mul ecx
    cmp eax, ebx
    ja .prime                       ; nothing up to its root divides it
    mov eax, ebx
    xor edx, edx
    div ecx
    test edx, edx
    jz .next
    add ecx, 2
    jmp .divide
.prime:
    inc esi
.next:
    add ebx, 2
    cmp ebx, 40000
    jb .candidate
    ask_kernel SYS_TURNS
    cmp eax, ENOUGH_TURNS
    jb primes
    mov ebx, esi
    ask_kernel SYS_EXIT

collatz:                            ; even: halve it; odd: three times and one more; until it is 1
    xor esi, esi                    ; the longest way so far
    mov ebx, 2
.start:
    mov eax, ebx
    xor ecx, ecx
.step:
    inc ecx
    test al, 1
    jz .even
    lea eax, [eax + eax * 2 + 1]
    jmp .step
.even:
    shr eax, 1
    cmp eax, 1
    ja .step
    cmp ecx, esi
    jbe .shorter
    mov esi, ecx
    mov edi, ebx
.shorter:
    inc ebx
    cmp ebx, 10000
    jb .start
    ask_kernel SYS_TURNS
    cmp eax, ENOUGH_TURNS
    jb collatz
    mov ebx, edi
    ask_kernel SYS_EXIT

SIEVE           equ 200000          ; bytes of heap, of which none is there at first
sieve:                              ; strike out the multiples
    mov edi, HEAP
    mov ecx, SIEVE / 4
    xor eax, eax
    rep stosd
    mov ebx, 2
.next:
    cmp byte [HEAP + ebx], 0
    jne .struck_out
    mov eax, ebx
    mul ebx
    cmp eax, SIEVE
    jae .count
.strike_out:
    mov byte [HEAP + eax], 1
    add eax, ebx
    cmp eax, SIEVE
    jb .strike_out
.struck_out:
    inc ebx
    jmp .next
.count:
    xor esi, esi
    mov ebx, 2
.look:
    cmp byte [HEAP + ebx], 1
    adc esi, 0                      ; carry: 0 is below 1
    inc ebx
    cmp ebx, SIEVE
    jb .look
    ask_kernel SYS_TURNS
    cmp eax, ENOUGH_TURNS
    jb sieve
    mov ebx, esi
    ask_kernel SYS_EXIT

; -- What they share --
; Print the text at ESI, up to its zero byte. Changes EAX and ESI.
say:
    save ebx, ecx
    mov ebx, esi
.measure:
    lodsb
    test al, al
    jnz .measure
    lea ecx, [esi - 1]
    sub ecx, ebx
    ask_kernel SYS_WRITE
    restore ebx, ecx
    ret

say_newline:
    mov esi, user_newline
    jmp say

; Print EAX in decimal. Changes EAX and ESI.
say_number:
    save ebx, ecx, edx
    mov ebx, 10
    sub esp, 12                     ; eleven digits and a zero are more than enough
    lea esi, [esp + 11]
    mov byte [esi], 0
.divide:
    xor edx, edx
    div ebx
    add dl, '0'
    dec esi
    mov [esi], dl
    test eax, eax
    jnz .divide
    call say
    add esp, 12
    restore ebx, ecx, edx
    ret

; Print EAX in a column of six. Changes EAX and ESI.
say_column:
    push eax
    mov esi, user_column
.narrower:
    cmp eax, 10
    jb .say
    inc esi                         ; one space less
    save edx, ecx
    xor edx, edx
    mov ecx, 10
    div ecx
    restore edx, ecx
    jmp .narrower
.say:
    call say
    pop eax
    call say_number
    mov esi, user_column_end
    jmp say

; Compare the first word at ESI with the name at EDI. Returns ZF, and in ESI what follows the
; word if they are the same. Changes EAX and EDI.
same_word:
    mov al, [edi]
    test al, al
    jz .end_of_name
    cmp al, [esi]
    jne .return
    inc esi
    inc edi
    jmp same_word
.end_of_name:
    cmp byte [esi], ' '
    ja .return                      ; ZF is 0: above
    cmp al, al
.return:
    ret

; Move ESI behind spaces.
skip_spaces:
    cmp byte [esi], ' '
    jne .done
    inc esi
    jmp skip_spaces
.done:
    ret

align PAGE_BYTES, db 0              ; texts and tables: never on a page with code
own_commands:
    dd user_echo, sh_echo
    dd user_help_name, sh_help
    dd user_race, sh_race
    dd user_halt, sh_halt
    dd 0

race:                               ; command line, what its status is
    dd user_primes, user_primes_found
    dd user_collatz, user_collatz_found
    dd user_sieve, user_sieve_found
race_end:

crimes:
    dd crime_kernel, crime_null, crime_text, crime_stack, crime_divide, crime_cli
crimes_end:

state_names:
    dd 0, user_new, user_ready, user_running, user_sleeping, user_zombie
user_new:           db "new       ", 0
user_ready:         db "ready     ", 0
user_running:       db "running   ", 0
user_sleeping:      db "sleeping  ", 0
user_zombie:        db "zombie    ", 0

user_prompt:        db "$ ", 0
user_newline:       db 10, 0
user_column:        db "     ", 0
user_column_end:    db "  ", 0
user_unknown:       db "no such program: ", 0
user_no_file:       db "no such file: ", 0
user_ps_title:      db "   pid  parent  state     name", 10, 0
user_echo:          db "echo", 0
user_help_name:     db "help", 0
user_race:          db "race", 0
user_halt:          db "halt", 0
user_sh:            db FIRST_PROGRAM, 0
user_ps:            db "ps", 0
user_primes:        db "primes", 0
user_collatz:       db "collatz", 0
user_sieve:         db "sieve", 0
user_found:         db " found ", 0
user_primes_found:  db " primes below 40000", 10, 0
user_collatz_found: db " to go on longest of all numbers below 10000", 10, 0
user_sieve_found:   db " primes below 200000", 10, 0
user_turns:         db "each had 8 turns or more", 10, 0
user_child_finds:   db "child finds ", 0
user_child_has:     db ", changes it, and has ", 0
user_child_said:    db "child ended with ", 0
user_parent_finds:  db ", parent still finds ", 0
user_crashed:       db "six crimes, six killed, everyone else is well", 10, 0
user_survived:      db "A CRIME WENT UNPUNISHED", 10, 0
user_help:
    db "echo TEXT  say it again", 10
    db "ps         who is there", 10
    db "ls         which files there are", 10
    db "cat NAME   show a file", 10
    db "fork       one page, two processes", 10
    db "crash      do what must not be done", 10
    db "race       three programs that never give the CPU away", 10
    db "halt       end everything", 10, 0
times USER_TEXT_BYTES - OWN_PAGES * PAGE_BYTES - ($ - $$) db 0

; ==== 13. Tables ====================================================================================

section .kernel
align PAGE_BYTES, db 0              ; never on a page with code
handlers:                           ; by vector
    times 14 dd exception
    dd page_fault
    times 17 dd exception
%ifdef PARAVIRT
    dd events                       ; whatever happens outside
%else
    dd clock_interrupt              ; IRQ 0
    times 3 dd spurious
    dd console_interrupt            ; IRQ 4
    times 9 dd spurious
    dd disk_interrupt               ; IRQ 14
    dd spurious
%endif

calls:                              ; by number
    dd sys_exit, fork, sys_spawn, sys_wait, sys_getpid, sys_yield, sys_sleep
    dd sys_write, read_line, sys_process, sys_turns, tell_file, load_file, sys_halt
CALLS           equ ($ - calls) / 4

PROGRAM_ENTRY   equ 12
PROGRAM_BYTES   equ 16
%macro program 2                    ; name, entry
%%name:
    db %1
    times PROGRAM_ENTRY - ($ - %%name) db 0
    dd %2
%endmacro
programs:
    program "init", init_program
    program "sh", sh
    program "ps", ps
    program "ls", ls
    program "cat", cat
    program "fork", fork_program
    program "crash", crash
    program "primes", primes
    program "collatz", collatz
    program "sieve", sieve
%ifmacro OWN_PROGRAMS 0
    OWN_PROGRAMS
%endif
programs_end:

; What is typed when nobody types.
PATIENCE        equ 10              ; ticks without a byte before the next line of it
PATIENCE_TYPING equ 1000            ; the same once somebody has typed
script_text:
    db "echo teachos says hello", 10
    db "ls", 10
    db "cat motd", 10
    db "cat rings", 10
    db "cat nothing", 10
    db "fork", 10
    db "crash", 10
    db "race", 10
    db "ps", 10
script_last_line:
    db "halt", 10, 0

align 4, db 0
script:             dd script_text  ; what comes next of it
script_plays:       dd 0            ; 1: in the middle of one of its lines
patience:           dd PATIENCE
print_to:           dd COM1
sector_number:      dd -1           ; which one `sector` holds: none

statistics:                         ; what depends on the machine's speed
    dd ticks, text_ticks
    dd switches, text_switches
    dd system_calls, text_calls
    dd disk_reads, text_reads
    dd pages_brought, text_brought_total
statistics_end:

exception_names:
    dd name_divide, name_debug, name_nmi, name_breakpoint, name_overflow, name_bound
    dd name_opcode, name_no_fpu, name_double, name_reserved, name_tss, name_segment
    dd name_stack, name_protection, name_page_fault, name_reserved, name_fpu, name_alignment
    times 14 dd name_reserved
fault_reasons:                      ; bit 0: present, bit 1: a write
    dd reason_read_absent, reason_read_denied, reason_write_absent, reason_write_denied

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
name_stack:         db "stack fault", 0
name_protection:    db "general protection", 0
name_page_fault:    db "page fault", 0
name_fpu:           db "coprocessor error", 0
name_alignment:     db "alignment check", 0
name_reserved:      db "unknown exception", 0
reason_read_absent:     db ": read, nothing there", 0
reason_read_denied:     db ": read, not allowed", 0
reason_write_absent:    db ": write, nothing there", 0
reason_write_denied:    db ": write, not allowed", 0

name_processes:     db "processes", 0
name_input:         db "input", 0
name_disk:          db "disk", 0
name_clock:         db "clock", 0

text_welcome:       db "teachos: 4 MiB of memory, paging on, the kernel at C0000000", 10, 0
text_init:          db "init"
                    times COMMAND_BYTES - ($ - text_init) db 0
text_at:            db " at ", 0
text_close_space:   db "] ", 0
text_close:         db ")", 10, 0
text_killed:        db "; killed", 10, 0
text_no_memory:     db "out of memory", 0
text_no_init:       db "no first process", 0
%ifdef BALLOON
text_balloon:       db "the VMM has refused a frame", 0
%endif
text_panic:         db "panic: ", 0
text_inside:        db "interrupts are on inside a critical section (", 0
text_not_restored:  db "POPF has not restored IF behind a critical section (", 0
%ifdef ASKS
text_asked:         db 10, "The machine is to be switched off.", 10, 0
%endif
text_halt:          db "halted: ", 0
text_brought:       db " pages brought on demand, ", 0
text_copied:        db " copied on write, ", 0
text_were_killed:   db " processes killed", 10, 0
text_ticks:         db " ticks, ", 0
text_switches:      db " switches, ", 0
text_calls:         db " system calls, ", 0
text_reads:         db " sectors read, ", 0
text_brought_total: db " pages brought", 10, 0
hex_digits:         db "0123456789ABCDEF"

align 4, db 0
%ifdef PARAVIRT
first_free:         dd 0            ; the first frame behind the kernel and what came with it
%else
first_free:         dd FIRST_FREE   ; the first frame behind the kernel
gdt_pointer:
    dw gdt_end - gdt - 1            ; limit: the last valid byte
    dd gdt
    dw 0                            ; keeps the next one aligned
idt_pointer:
    dw idt_end - idt - 1
    dd idt
%endif

; -- Global descriptor table, on a page of its own --
; A VMM that keeps a shadow of this table must notice every write to it, and it can
; only watch whole pages. For the same reason the Accessed bit (bit 0 of the type) is
; already set: the CPU would otherwise write it here on the first load of a segment.
align PAGE_BYTES, db 0
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
%ifndef PARAVIRT

; -- Interrupt descriptor table --
%macro gate 2                       ; handler, type
    dw ADDR(%1) & 0xFFFF            ; offset 15:0
    dw KERNEL_CODE                  ; handlers run in ring 0
    db 0, %2
    dw ADDR(%1) >> 16               ; offset 31:16
%endmacro

align PAGE_BYTES, db 0
idt:
%assign vector 0
%rep IRQ_VECTOR + 16
    gate trap_%[vector], INTERRUPT_GATE
%assign vector vector + 1
%endrep
    times (0x80 - (IRQ_VECTOR + 16)) dq 0 ; not present
    gate system_call, USER_TRAP_GATE ; the only gate that INT may use from ring 3
idt_end:

; -- Task state segment, on a page of its own --
; The CPU reads one thing here: the stack to use when it comes from ring 3 to ring 0. The
; kernel writes there, at each switch, where the next process has its own.
align PAGE_BYTES, db 0
tss:
    dd 0                            ; previous task: unused
tss_esp0:
    dd 0
    dd KERNEL_DATA                  ; SS0
    times 22 dd 0                   ; the rest is for task switches, which nobody uses
    dw 0
    dw tss_end - tss                ; I/O bitmap behind the limit: ring 3 gets no ports
tss_end:
%endif
%ifdef PARAVIRT
disk_copy:
%ifndef NO_DISK
    incbin "disk.img"
%endif
DISK_SECTORS        equ ($ - disk_copy) / SECTOR_BYTES
%endif
align PAGE_BYTES, db 0
kernel_end:

; -- Memory that needs no place in the file; the loader clears it --
section .bss
boot_directory:     resb PAGE_BYTES
%ifdef PARAVIRT
kernel_table:       resb PAGE_BYTES ; maps all of our memory at KERNEL_BASE
shared_info:        resb PAGE_BYTES ; the page that we share with the hypervisor is mapped over this
%endif
idle_stack:         resb PAGE_BYTES
idle_stack_top:
sector:             resb SECTOR_BYTES
frame_users:        resb FRAMES     ; by frame: how many page tables have it
processes:          resb PROCESSES * PROCESS_BYTES
processes_end:
INPUT_BYTES         equ 64          ; a power of two
input_ring:         resb INPUT_BYTES
input_head:         resd 1          ; bytes put in
input_tail:         resd 1          ; bytes taken out
command:            resb COMMAND_BYTES
current:            resd 1          ; the slot of the process that has the CPU
init:               resd 1          ; the slot of the first process
last_pid:           resd 1
time_is_up:         resd 1
free_frames:        resd 1
disk_is_taken:      resd 1
disk_has_answered:  resd 1
disk_status:        resd 1
ticks:              resd 1
switches:           resd 1
system_calls:       resd 1
disk_reads:         resd 1
pages_brought:      resd 1
pages_copied:       resd 1
killed:             resd 1
%ifdef BALLOON
balloon_count:      resd 1          ; frames in the balloon
balloon_list:       resd 1 + BALLOON_LIST ; how many, and which: what the VMM is told
balloon_frames:     resw FRAMES     ; a stack: what is in the balloon
%endif
resb -($ - $$) & (PAGE_BYTES - 1)
memory_end:
FIRST_FREE          equ (memory_end - boot_directory + kernel_end - kernel_start + KERNEL_START - KERNEL_BASE) / PAGE_BYTES
