; paging-tour: the kernel turns paging on, and ring 3 runs into its walls.
;
; Page tables say for every 4 KiB page: is it there, where is it, may ring 3 use it,
; may it be written. When a program breaks such a rule the CPU raises a page fault
; (#PF, vector 14), puts the address in CR2 and the reason in the error code.
;   1. The program writes to a page that is not there: the handler brings one, and
;      the same instruction, tried again, succeeds.
;   2. The program writes to a page of the kernel: reported and stepped over.
;   3. The kernel writes to a read-only page: with CR0.WP that is a fault even for it.
;
; With PARAVIRT defined this becomes a kernel for a Xen-like hypervisor. The CPU walks the
; tables that the kernel has made, as on bare metal, but first the hypervisor checks them:
; they name machine frames, none of a stranger's, and no page that is a table may be
; written to. From then on every change is a hypercall. The program does not change.

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

CR0_WP          equ 1 << 16         ; read-only pages are read-only for ring 0 too
CR0_PG          equ 1 << 31         ; paging on
PAGE_PRESENT    equ 1 << 0
PAGE_WRITE      equ 1 << 1
PAGE_USER       equ 1 << 2
PAGE_BYTES      equ 4096
ENTRIES         equ 1024            ; entries in a page directory or page table
FAULT_PRESENT   equ 1 << 0          ; error code: the page is there, but not for this access

LAZY_PAGE       equ 0x300000        ; linear address with no page behind it at first
LAZY_FRAME      equ 0x200000        ; the physical memory that the handler will put there
SECRET          equ 0xC0FFEE        ; what the program writes

%include "../common/ports.asm"

%ifdef PARAVIRT
HYPERCALL       equ 0x82            ; EAX says which, EBX, ECX, EDX, ESI have its arguments
SET_TRAP_TABLE  equ 0
SET_GDT         equ 2
STACK_SWITCH    equ 3
SCHED_OP        equ 6
MULTICALL       equ 13
UPDATE_MAPPING  equ 14
CONSOLE_IO      equ 18
IRET_CALL       equ 23
MMUEXT_OP       equ 26
SHUTDOWN        equ 2               ; command of SCHED_OP
CONSOLE_WRITE   equ 0               ; command of CONSOLE_IO
FLUSH_PAGE      equ 2               ; flag of UPDATE_MAPPING: forget the old entry of this page
PIN_L2_TABLE    equ 1               ; operations of MMUEXT_OP: check a page directory and keep it checked,
NEW_BASEPTR     equ 5               ; load CR3
DOMID_SELF      equ 0x7FF0          ; "my own tables"
PAGE_READ_ONLY  equ 1 + 4           ; page-table entry: present, for all rings, not writable
PAGE_WRITABLE   equ 1 + 2 + 4
SHARED_FRAME    equ 36              ; in the start_info page that ESI points to at the entry
TABLES          equ 64              ; the tables we start on: where they are,
TABLES_COUNT    equ 68              ; how many pages,
FRAME_LIST      equ 72              ; and the machine frame of each page that we have
UPCALL_MASK     equ 1               ; in the shared page: 1 is what IF = 0 is on bare metal
SHARED_CR2      equ 8               ; and what CR2 is there
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

    ; Ring 3 is to run with IF = 1, as programs do, so silence all hardware first.
    mov al, 0xFF
    out PIC1_MASK, al
    out PIC2_MASK, al
%endif

    call build_page_tables

    ; From the next instruction on every address goes through the tables. The tables
    ; map this page to itself, or that next instruction would not be found.
%ifdef PARAVIRT
    call use_page_tables
%else
    mov eax, page_directory
    mov cr3, eax
    mov eax, cr0
    or eax, CR0_PG | CR0_WP
    mov cr0, eax
%endif

.marker_paging:
    mov esi, text_welcome
    call print

    ; DS and ES become user data now and stay so in the kernel as well: both kinds of
    ; segment are flat, and it is the pages that tell kernel and program apart.
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

; Map the first 4 MiB to themselves, for the kernel only; then open the few pages that
; ring 3 needs, and leave one out.
build_page_tables:
    mov edi, page_table
%ifdef PARAVIRT
    mov ebx, [start_info]
    mov esi, [ebx + FRAME_LIST]     ; a page is wherever the hypervisor has put it
    mov ecx, ENTRIES
.next:
    lodsd
    shl eax, 12
    or eax, PAGE_PRESENT | PAGE_WRITE
    stosd
    dec ecx
    jnz .next

    ; What the hypervisor relies on must be read-only: the GDT, these tables, and the
    ; ones that we are still on.
    mov edx, PAGE_PRESENT
    mov eax, gdt
    call set_page
    mov eax, page_directory
    call set_page
    mov eax, page_table
    call set_page
    mov esi, [ebx + TABLES]
    mov ecx, [ebx + TABLES_COUNT]
.old_table:
    mov eax, esi
    call set_page
    add esi, PAGE_BYTES
    dec ecx
    jnz .old_table

    mov eax, [ebx + SHARED_FRAME]
    or eax, PAGE_PRESENT | PAGE_WRITE
    mov [page_table + (ADDR(shared_info) >> 12) * 4], eax
%else
    mov eax, PAGE_PRESENT | PAGE_WRITE
    mov ecx, ENTRIES
.next:
    mov [edi], eax
    add edi, 4
    add eax, PAGE_BYTES             ; the next frame, with the same flags
    dec ecx
    jnz .next
%endif

    mov eax, user_program           ; readable for ring 3, writable for nobody
    mov edx, PAGE_PRESENT | PAGE_USER
    call set_page
    mov eax, user_stack
    mov edx, PAGE_PRESENT | PAGE_WRITE | PAGE_USER
    call set_page
    mov dword [LAZY_ENTRY], 0       ; not present: the rest of the entry means nothing

    ; Both levels must allow ring 3 in: be generous here and strict below.
%ifdef PARAVIRT
    mov eax, page_table
    call entry_of
    or eax, PAGE_WRITE | PAGE_USER  ; the directory says so; the table's own entry does not
    mov [page_directory], eax
%else
    mov dword [page_directory], page_table + (PAGE_PRESENT | PAGE_WRITE | PAGE_USER)
%endif
    ret

; Map the page at EAX to itself with the flags in EDX. Changes EAX and EDI.
set_page:
    mov edi, eax
    shr edi, 12                     ; address / page size = index
%ifdef PARAVIRT
    call entry_of
    and eax, -PAGE_BYTES            ; the machine frame, which it has already
%endif
    or eax, edx
    mov [page_table + edi * 4], eax
    ret

%ifdef PARAVIRT
; Read the entry of the page at EAX into EAX. Changes no other register.
entry_of:
    shr eax, 12
    mov eax, [page_table + eax * 4]
    ret

; Hand the new tables over, in one trip: the last right to write to them goes, they are
; checked and pinned, and CR3 is loaded. Changes no register.
use_page_tables:
    pushad
    mov eax, page_table
    call entry_of
    mov [batch_table + 12], eax     ; second argument
    mov eax, page_directory
    call entry_of
    mov [batch_directory + 12], eax
    shr eax, 12
    mov [operation_pin + 4], eax
    mov [operation_base + 4], eax
    mov ebx, batch_tables
    mov ecx, 3
    mov eax, MULTICALL
    int HYPERCALL
    popad
    ret
%endif

; #PF, vector 14. On the stack: error code, then EIP, CS, EFLAGS; from ring 3 also ESP, SS.
page_fault:
    pushad                          ; 8 registers, 32 bytes: the error code is now above them
    cld                             ; the program may have left DF in any state
%ifdef PARAVIRT
    mov ebp, [shared_info + SHARED_CR2] ; only ring 0 can read CR2 itself
%else
    mov ebp, cr2                    ; the address, before another fault can replace it
%endif
.marker_fault:

    mov esi, text_fault
    call print
    mov eax, ebp
    mov ecx, 8
    call print_hex
    mov esi, text_error_code
    call print
    mov eax, [esp + 32]
    mov ecx, 4
    call print_hex
    mov eax, [esp + 32]
    cmp eax, REASONS
    jae panic                       ; a bit that this kernel does not know
    mov esi, [reasons + eax * 4]
    call print
    inc dword [faults]

    test dword [esp + 32], FAULT_PRESENT
    jnz .forbidden

    ; Nothing there. If it is the page we left out, now is the time to bring it.
    and ebp, -PAGE_BYTES
    cmp ebp, LAZY_PAGE
    jne panic
%ifdef PARAVIRT
    pushad
    mov ecx, [start_info]           ; writing to the table would be one more page fault
    mov ecx, [ecx + FRAME_LIST]
    mov ecx, [ecx + LAZY_FRAME / PAGE_BYTES * 4]
    shl ecx, 12
    or ecx, PAGE_PRESENT | PAGE_WRITE | PAGE_USER
    mov ebx, LAZY_PAGE
    mov edx, FLUSH_PAGE
    mov eax, UPDATE_MAPPING
    int HYPERCALL
    popad
%else
    mov dword [LAZY_ENTRY], LAZY_FRAME | PAGE_PRESENT | PAGE_WRITE | PAGE_USER
    invlpg [LAZY_PAGE]              ; forget what the TLB may know about this page
%endif
    mov esi, text_mapped
    call print
    jmp .return                     ; a fault returns TO the instruction: it is tried again

    ; There, but not for this access. Step over the instruction, or it would fault for ever.
.forbidden:
    mov ebx, [esp + 36]             ; EIP of the culprit
    mov edi, trespasses
.search:
    cmp edi, trespasses_end
    je panic                        ; a fault that this tour did not plan
    cmp [edi], ebx
    je .found
    add edi, 8
    jmp .search
.found:
    mov eax, [edi + 4]
    mov [esp + 36], eax
    mov esi, text_skipped
    call print
.return:
.marker_return:
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

; INT 0x80, the way out. EBX: what the program read back.
system_call:
    cld
.marker_goodbye:
    mov esi, text_read_back
    call print
    mov eax, ebx
    mov ecx, 8
    call print_hex
    mov esi, text_frame
    call print
    mov eax, [LAZY_FRAME]           ; the same memory under its other address
    call print_hex
    mov esi, text_full_stop
    call print

kernel_writes_code:
    mov dword [user_program], 0     ; read-only, and CR0.WP binds ring 0 as well
kernel_goes_on:

    mov esi, text_done
    call print
    mov eax, [faults]
    sub eax, 3                      ; 0 if all went as planned
.marker_told:
%ifdef PARAVIRT
    jmp shut_down
%else
    out EXIT_PORT, al
    jmp halt
%endif

%include "../common/panic.asm"

%ifdef PARAVIRT
; Find the shared page, and have the segments checked. ESI: the start_info page. Changes
; no register.
meet_hypervisor:
    mov [start_info], esi           ; the tables that we are going to build need it too
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
    mov dword [LAZY_PAGE], SECRET   ; faults, is tried again, and then works
    mov ebx, [LAZY_PAGE]
write_to_kernel:
    mov dword [faults], 0           ; the kernel's own data: ring 3 may not
next_after_write:
    mov eax, 1                      ; "exit", as on many a Unix
    int 0x80
.after_exit:
    jmp .after_exit

; ---- Data: never on a page with code ------------------------------------------------
align 4096, db 0
faults:
    dd 0                            ; page faults so far

; Writes that are forbidden on purpose: where, and where to go on.
trespasses:
    dd write_to_kernel,    next_after_write
    dd kernel_writes_code, kernel_goes_on
trespasses_end:

; The error code is a number from 0 to 7: bit 0 the page was present, bit 1 it was a
; write, bit 2 it came from ring 3.
reasons:
    dd reason_0, reason_1, reason_2, reason_3, reason_4, reason_5, reason_6, reason_7
REASONS         equ ($ - reasons) / 4
reason_0:       db " (kernel, read, no page)", 0
reason_1:       db " (kernel, read, not allowed)", 0
reason_2:       db " (kernel, write, no page)", 0
reason_3:       db " (kernel, write, not allowed)", 0
reason_4:       db " (ring 3, read, no page)", 0
reason_5:       db " (ring 3, read, not allowed)", 0
reason_6:       db " (ring 3, write, no page)", 0
reason_7:       db " (ring 3, write, not allowed)", 0

text_welcome:
    db "Paging is on. Entering ring 3.", 10, 0
text_fault:
    db "#PF at ", 0
text_error_code:
    db ", error code ", 0
text_mapped:
    db ": page brought, try again.", 10, 0
text_skipped:
    db ": refused, stepped over.", 10, 0
text_read_back:
    db "The program reads back ", 0
text_frame:
    db "; the physical memory behind it holds ", 0
text_full_stop:
    db ".", 10, 0
text_done:
    db "Three faults: one repaired, two refused.", 10, 0
text_panic:
    db "PANIC: an exception nobody expected.", 10, 0
hex_digits:
    db "0123456789ABCDEF"

align 4
%ifdef PARAVIRT
start_info:
    dd 0                            ; where the page is that tells what we have
gdt_frame:
    dd 0                            ; the machine frame that the table is in
batch:                              ; number, answer, six arguments
    dd SET_TRAP_TABLE, 0, idt, 0, 0, 0, 0, 0
    dd STACK_SWITCH, 0, KERNEL_DATA, kernel_stack_top, 0, 0, 0, 0
batch_tables:
batch_table:
    dd UPDATE_MAPPING, 0, page_table, 0, FLUSH_PAGE, 0, 0, 0
batch_directory:
    dd UPDATE_MAPPING, 0, page_directory, 0, FLUSH_PAGE, 0, 0, 0
    dd MMUEXT_OP, 0, operation_pin, 2, 0, DOMID_SELF, 0, 0
operation_pin:                      ; operation, machine frame, nothing
    dd PIN_L2_TABLE, 0, 0
operation_base:
    dd NEW_BASEPTR, 0, 0
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
%rep 14
    trap vector, MASKS_EVENTS, panic
%assign vector vector + 1
%endrep
    trap 14, MASKS_EVENTS, page_fault
%assign vector 15
%rep 17
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
%rep 14
    gate panic, INTERRUPT_GATE
%endrep
    gate page_fault, INTERRUPT_GATE
%rep 17
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
user_stack:
    resb 4096
user_stack_top:
page_directory:
    resb PAGE_BYTES
page_table:
    resb PAGE_BYTES
LAZY_ENTRY      equ page_table + LAZY_PAGE / PAGE_BYTES * 4 ; where its mapping is written
memory_end:

