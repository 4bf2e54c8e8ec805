; sensitive-17: Robin and Irvine's list, one instruction after another.
;
; In 2000 Robin and Irvine went through some 250 instructions of x86 and asked of each
; what Popek and Goldberg had asked in 1974: does it depend on, or change, the state of
; the machine, and if so, does it trap where a program executes it? The instructions
; below are sensitive and do not trap. Some who retell the list count seventeen, others
; eighteen; here are all eighteen names, in their two groups.
;
; Each line is one instruction and what it told the kernel. In ring 0 all of it is true.
; Lay the lines of two techniques side by side: where they differ, a VMM that waits for
; traps was never asked. Where they do not differ, the instruction is on the list for
; what it may do elsewhere: the comments say which.
;
; The code that prints takes the same path whatever it prints: digits come from a
; table, not from a comparison. So two runs stay in step, instruction by instruction,
; even after they were told different things.
;
; With PARAVIRT defined this becomes a kernel for a Xen-like hypervisor. It knows that it
; runs in ring 1 and what it has asked for, so what would show it somebody else's machine
; is not asked any more, and what shows its ring it reads as meant.

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
TASK            equ 0x28
LOCAL_TABLE     equ 0x30

INTERRUPT_GATE  equ 0x8E            ; present, for ring 0, 32 bits, clears IF on entry
OWN_VECTOR      equ 0x30
FLAG_IF_BIT     equ 9               ; EFLAGS: interrupts enabled
FLAG_IF         equ 1 << FLAG_IF_BIT
FLAGS_FIXED     equ 1 << 1          ; EFLAGS: this bit is always 1
CR0_PE          equ 1 << 0          ; protected mode
CR0_ET          equ 1 << 4          ; always 1 since the Pentium
CR0_LOW_BITS    equ 0x3F            ; PE MP EM TS ET NE: all that SMSW can show

%include "../common/ports.asm"

%ifdef PARAVIRT
HYPERCALL       equ 0x82            ; EAX says which, EBX, ECX, EDX have its arguments
SET_TRAP_TABLE  equ 0
SET_GDT         equ 2
STACK_SWITCH    equ 3
SCHED_OP        equ 6
UPDATE_MAPPING  equ 14
XEN_VERSION     equ 17
CONSOLE_IO      equ 18
MMUEXT_OP       equ 26
SHUTDOWN        equ 2               ; command of SCHED_OP
CONSOLE_WRITE   equ 0               ; command of CONSOLE_IO
FLUSH_PAGE      equ 2               ; forget the old entry of this page
PAGE_READ_ONLY  equ 1 + 4           ; page-table entry: present, for all rings, not writable
PAGE_WRITABLE   equ 1 + 2 + 4
SHARED_FRAME    equ 36              ; in the start_info page that ESI points to at the entry
FRAME_LIST      equ 72
UPCALL_MASK     equ 1               ; in the shared page: 1 is what IF = 0 is on bare metal
MASKS_EVENTS    equ 4               ; in the trap table: entering sets the mask, as a gate clears IF
SET_LDT         equ 13              ; command of MMUEXT_OP
PLATFORM        equ 5               ; command of XEN_VERSION: where the hypervisor begins
MACH2PHYS_BYTES equ 0x400000        ; what it shows first: which page of ours a machine frame is
DOMID_SELF      equ 0x7FF0

; What stood in one instruction each before. Flags as PUSHFD would show them:
%macro push_flags 0
    push dword FLAGS_FIXED
    cmp byte [shared_info + UPCALL_MASK], 0
    jne %%masked
    or dword [esp], FLAG_IF
%%masked:
%endmacro
%macro pop_flags 0
    test dword [esp], FLAG_IF
    setz byte [shared_info + UPCALL_MASK]
    add esp, 4
%endmacro
%endif

%include "../common/multiboot.asm"

; ---- Kernel code (ring 0, or so it thinks) ------------------------------------------
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
    mov ebx, local_table            ; a list of one operation
    mov ecx, 1
    mov edx, 0
    mov esi, DOMID_SELF
    mov eax, MMUEXT_OP
    int HYPERCALL
    mov ebx, KERNEL_DATA
    mov ecx, kernel_stack_top
    mov eax, STACK_SWITCH
    int HYPERCALL
    popad
%else
    lidt [idt_pointer]

    ; Give every register that will be asked for an answer of its own.
    mov ax, LOCAL_TABLE
    lldt ax
    mov ax, TASK
    ltr ax
    mov eax, CR0_PE | CR0_ET
    mov cr0, eax

    ; IF will be 1 for a while: silence all hardware, so that nothing comes of it.
    mov al, 0xFF
    out PIC1_MASK, al
    out PIC2_MASK, al
%endif

    mov esi, text_registers
    call print
.marker_registers:

; -- Sensitive register instructions -----------------------------------------------------
; There is one GDTR, one IDTR and one LDTR in the CPU, and a VMM needs them itself.
    mov esi, text_sgdt
    call print
%ifdef PARAVIRT
    mov word [table_register], gdt_end - gdt - 1 ; nobody to ask: we know our own table
    mov dword [table_register + 2], gdt
%else
    sgdt [table_register]
%endif
    call print_table_register

    mov esi, text_sidt
    call print
%ifdef PARAVIRT
    mov word [table_register], OWN_VECTOR * 8 + 7 ; likewise our list of handlers
    mov dword [table_register + 2], idt
%else
    sidt [table_register]
%endif
    call print_table_register

    mov esi, text_sldt
    call print
%ifdef PARAVIRT
    mov ax, LOCAL_TABLE             ; our name for it; the hypervisor has its own
%else
    sldt ax
%endif
    call print_selector

; The low half of CR0. A VMM has its own idea of some bits: NE, say, which this kernel
; has cleared.
    mov esi, text_smsw
    call print
%ifdef PARAVIRT
    mov ax, CR0_PE | CR0_ET         ; CR0 is the hypervisor's; this is what we need of it
%else
    smsw ax
%endif
    and eax, CR0_LOW_BITS
    call print_selector

; The interrupt flag. CLI and STI are privileged and trap; these two are their back door.
    mov esi, text_pushf
    call print
%ifdef PARAVIRT
    mov byte [shared_info + UPCALL_MASK], 1
    push_flags
%else
    cli
    pushfd
%endif
    call print_if

    mov esi, text_popf
    call print
%ifdef PARAVIRT
    mov byte [shared_info + UPCALL_MASK], 0
    push dword FLAGS_FIXED
    pop_flags
    push_flags
%else
    sti
    push dword FLAGS_FIXED
    popfd
    pushfd
%endif
    call print_if
%ifdef PARAVIRT
    mov byte [shared_info + UPCALL_MASK], 1
%else
    cli
%endif

    mov esi, text_protection
    call print
.marker_protection:

; -- Protection system instructions ------------------------------------------------------
; Four questions about segments. They look at the ring that asks, and at a descriptor that
; a VMM cannot leave at ring 0.
    mov esi, text_lar
    call print
    mov ecx, KERNEL_DATA
    mov eax, 0
    lar eax, ecx
    and eax, 0x00F0FF00             ; bits 19:16 are undefined
%ifdef PARAVIRT
    and eax, ~0x6000                ; DPL 1 is this kernel's DPL 0
%endif
    mov ecx, 8
    call print_hex
    call new_line

    mov esi, text_lsl
    call print
    mov ecx, KERNEL_DATA
    mov eax, 0
    lsl eax, ecx
%ifdef PARAVIRT
    pushad                          ; "as far as the hypervisor" means "everything" here
    mov ebx, PLATFORM
    mov ecx, hypervisor_start
    mov eax, XEN_VERSION
    int HYPERCALL
    popad
    inc eax
    sub eax, [hypervisor_start]     ; 0 if the segment ends behind the one table there
    sub eax, MACH2PHYS_BYTES        ; that guests may read
    dec eax
%endif
    mov ecx, 8
    call print_hex
    call new_line

    ; RPL 1: "may ring 1 read (write) the kernel's data?" No, says a true ring 0 segment.
    mov esi, text_verr
    call print
    mov ax, KERNEL_DATA + 1
    verr ax
    call print_zf

    mov esi, text_verw
    call print
    mov ax, KERNEL_DATA + 1
    verw ax
    call print_zf

; POP to a segment register compares CPL and RPL with the descriptor's DPL. Here they fit
; in any case, so the answer is the same everywhere. It would not be for a selector that a
; true ring 0 refuses: 0011 into ES is a #GP here, and is not where the DPL is 1.
    mov esi, text_pop
    call print
    push dword KERNEL_DATA
    pop es
    mov ax, es
%ifdef PARAVIRT
    and ax, ~3                      ; the ring in it is 1, which is this kernel's ring 0
%endif
    call print_selector

; CS and SS show the current ring in their low two bits to whoever stores them.
    mov esi, text_push
    call print
    push cs
    pop eax                         ; the upper half is undefined; only AX is printed
%ifdef PARAVIRT
    and ax, ~3                      ; the ring in it is 1, which is this kernel's ring 0
%endif
    call print_selector

; A far CALL leaves the old CS on the stack, and with it the ring.
    mov esi, text_call
    call print
    call KERNEL_CODE:far_routine
%ifdef PARAVIRT
    and ax, ~3                      ; the ring in it is 1, which is this kernel's ring 0
%endif
    call print_selector

; A far JMP asked for RPL 0. Which ring did it come to?
    mov esi, text_jmp
    call print
    jmp KERNEL_CODE:.landed
.landed:
    mov ax, cs
%ifdef PARAVIRT
    and ax, ~3                      ; the ring in it is 1, which is this kernel's ring 0
%endif
    call print_selector

; INT n goes through the table that IDTR names: the VMM's. So a VMM hears of it after all,
; and can push what the kernel expects. It is on the list because CPL is compared with the
; gate's DPL on the way.
    mov esi, text_int
    call print
    int OWN_VECTOR
%ifdef PARAVIRT
    and eax, 0xFFFC                 ; with the CS comes the event mask that was saved
%endif
    call print_selector

; A far RET may lead to the same ring or to an outer one, never inward.
    mov esi, text_ret
    call print
    push dword KERNEL_CODE
    push dword .returned
    retf
.returned:
    mov ax, cs
%ifdef PARAVIRT
    and ax, ~3                      ; the ring in it is 1, which is this kernel's ring 0
%endif
    call print_selector

    mov esi, text_str
    call print
%ifdef PARAVIRT
    mov ax, TASK                    ; the hypervisor has the task; this is our name for it
%else
    str ax
%endif
    call print_selector

    mov esi, text_mov
    call print
    mov ax, ss
%ifdef PARAVIRT
    and ax, ~3                      ; the ring in it is 1, which is this kernel's ring 0
%endif
    call print_selector
.marker_told:

    mov al, 0                       ; this guest does not judge, it only reports
%ifdef PARAVIRT
    jmp shut_down
%else
    out EXIT_PORT, al
    jmp halt
%endif

; The target of the far CALL: fetch the CS that it saved into AX.
far_routine:
    mov eax, [esp + 4]              ; on the stack: EIP, CS
    retf

; INT 30h: the same. On the stack: EIP, CS, EFLAGS.
own_handler:
    mov eax, [esp + 4]
    iretd

; Print bit 9 of the flags that the caller pushed, and take them off the stack.
print_if:
    mov eax, [esp + 4]
    shr eax, FLAG_IF_BIT
    mov ecx, 1
    call print_hex
    call new_line
    ret 4

; Print ZF as it is now: 1 is a yes.
print_zf:
    setz al
    mov ecx, 1
    call print_hex
    jmp new_line

; Print the base and limit that SIDT or SGDT stored.
print_table_register:
    mov eax, [table_register + 2]
    mov ecx, 8
    call print_hex
    mov esi, text_limit
    call print
    mov eax, [table_register]
    mov ecx, 4
    call print_hex
    jmp new_line

; Print the 16 bits in AX: a selector, mostly.
print_selector:
    mov ecx, 4
    call print_hex
new_line:
    mov al, 10
    jmp putc

%include "../common/panic.asm"

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
    mov ecx, [esi + FRAME_LIST]     ; the same for the LDT
    mov ecx, [ecx + 4 * (ADDR(ldt) >> 12)]
    shl ecx, 12
    or ecx, PAGE_READ_ONLY
    mov ebx, ldt
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

; ---- Data: never on a page with code ------------------------------------------------
align 4096, db 0
table_register:
    dw 0                            ; limit
    dd 0                            ; base

text_registers:
    db "Sensitive register instructions", 10, 0
text_sgdt:
    db "SGDT   the GDT is at        ", 0
text_sidt:
    db "SIDT   the IDT is at        ", 0
text_limit:
    db ", limit ", 0
text_sldt:
    db "SLDT   the LDT is           ", 0
text_smsw:
    db "SMSW   CR0, low bits        ", 0
text_pushf:
    db "PUSHF  after CLI, IF is     ", 0
text_popf:
    db "POPF   IF = 0 asked, it is  ", 0
text_protection:
    db "Protection system instructions", 10, 0
text_lar:
    db "LAR    rights of 0010       ", 0
text_lsl:
    db "LSL    limit of 0010        ", 0
text_verr:
    db "VERR   0011 readable?       ", 0
text_verw:
    db "VERW   0011 writable?       ", 0
text_pop:
    db "POP    ES is                ", 0
text_push:
    db "PUSH   CS is                ", 0
text_call:
    db "CALL   far, from CS         ", 0
text_jmp:
    db "JMP    far to 0008, now     ", 0
text_int:
    db "INT n  from CS              ", 0
text_ret:
    db "RET    far to 0008, now     ", 0
text_str:
    db "STR    the TSS is           ", 0
text_mov:
    db "MOV    SS is                ", 0
text_panic:
    db "PANIC: an exception nobody expected.", 10, 0
hex_digits:
    db "0123456789ABCDEF"

align 4
%ifdef PARAVIRT
gdt_frame:
    dd 0                            ; the machine frame that the table is in
hypervisor_start:
    dd 0
local_table:
    dd SET_LDT, ldt, (ldt_end - ldt) / 8 ; command, linear address, entries
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
    dq 0                            ; 0x18 and 0x20 are ring 3's place in the other guests;
    dq 0                            ; there is no ring 3 here
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
%ifdef PARAVIRT
    dq 0                            ; 0x30 and so is the descriptor of the LDT
%else
    dw ldt_end - ldt - 1            ; 0x30 the LDT, in the same layout
    dw ADDR(ldt) & 0xFFFF
    db (ADDR(ldt) >> 16) & 0xFF
    db 0x82                         ;      present, ring 0, LDT
    db 0
    db ADDR(ldt) >> 24
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
    trap OWN_VECTOR, 1 + MASKS_EVENTS, own_handler ; the kernel's ring may
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
    times (OWN_VECTOR - 32) dq 0    ; not present
    gate own_handler, INTERRUPT_GATE
idt_end:
%endif

%ifdef PARAVIRT
; ---- The page that we share with the hypervisor -------------------------------------
align 4096, db 0
shared_info:
    times 4096 db 0                 ; it is mapped over these
%else
; ---- Task state segment, on a page of its own ---------------------------------------
; Nobody leaves ring 0 here, so the CPU never looks inside. The table is there because
; STR wants something to show.
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

; ---- Local descriptor table, on a page of its own -----------------------------------
; One empty entry: it is there because SLDT wants something to show.
align 4096, db 0
ldt:
    dq 0
ldt_end:
image_end:

; ---- Memory that needs no place in the file -----------------------------------------
section .bss nobits align=4096
    resb 4096
kernel_stack_top:
memory_end:

