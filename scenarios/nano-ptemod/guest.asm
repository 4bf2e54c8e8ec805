; nano-ptemod: the kernel writes entries of its page table, over and over.
;
; Loops run in turn, all but the first with the operation. The difference to the first in
; what they cost, divided by the rounds, is the price of the operation.
; Labels that begin with marker_ say where each begins and ends.
;
; Where the real page tables are the VMM's, it keeps them in line with the guest's: it
; makes the guest's tables read-only, and every write to them is its business. The three
; loops are those that Adams and Agesen measured in 2006: an entry is written as it was;
; entries of pages that were there are cleared of their Present bit; and they get it back.

bits 32
BASE            equ 0x100000        ; 1 MiB: the first address above video memory and firmware
org BASE
%define ADDR(label) (label - $$ + BASE) ; a label as a plain number that can be cut into pieces

MULTIBOOT_MAGIC equ 0x1BADB002
MULTIBOOT_FLAGS equ 1 << 16         ; "the address fields below are valid"

KERNEL_CODE     equ 0x08            ; selectors: index in the GDT * 8 + the ring that asks
KERNEL_DATA     equ 0x10

INTERRUPT_GATE  equ 0x8E            ; present, for ring 0, 32 bits, clears IF on entry

WARM_UP         equ 10              ; rounds that nobody measures: a translator has its work behind it
ROUNDS          equ 20              ; rounds between two markers

FIRST_PAGE      equ 0x300000        ; linear address of the first of the pages concerned

CR0_PG          equ 1 << 31         ; paging on
PAGE_PRESENT    equ 1 << 0
PAGE_WRITE      equ 1 << 1
ACCESSED_DIRTY  equ 3 << 5          ; set by the CPU when the pages are used
FIRST_VALUE     equ FIRST_PAGE | PAGE_PRESENT | PAGE_WRITE | ACCESSED_DIRTY
FIRST_GONE      equ FIRST_VALUE - PAGE_PRESENT
PAGE_BYTES      equ 4096
ENTRIES         equ 1024            ; entries in a page directory or page table

%include "../common/nano_begin.asm"

    ; Nothing here waits for hardware: silence it.
    mov al, 0xFF
    out PIC1_MASK, al
    out PIC2_MASK, al

    ; From the last MOV here on every address goes through the tables. They map this page to
    ; itself, or the next instruction would not be found.
    call build_page_tables
    mov eax, page_directory
    mov cr3, eax
    mov eax, cr0
    or eax, CR0_PG
    mov cr0, eax

    mov esi, text_welcome
    call print

    ; Use the pages, so that whoever keeps tables of his own has them all in there.
    mov ebx, FIRST_PAGE
    mov ecx, ROUNDS
.use:
    mov [ebx], ebx
    add ebx, PAGE_BYTES
    dec ecx
    jnz .use

    ; Once for practice. A translator translates what it has not seen yet, and what keeps
    ; trapping it translates anew: that is over before anybody counts.
    mov edi, FIRST_ENTRY
    mov eax, FIRST_VALUE
    mov ecx, WARM_UP
    call empty_loop
    mov edi, FIRST_ENTRY
    mov eax, FIRST_VALUE
    mov ecx, WARM_UP
    call operation_loop

    ; EDI: where the first of the entries is; EAX: what it is to hold; ECX: rounds.
    mov edi, FIRST_ENTRY
    mov eax, FIRST_VALUE
    mov ecx, ROUNDS
.marker_empty:
    call empty_loop
.marker_empty_end:
    mov edi, FIRST_ENTRY
    mov eax, FIRST_VALUE            ; as it is
    mov ecx, ROUNDS
.marker_unchanged:
    call operation_loop
.marker_unchanged_end:
    mov edi, FIRST_ENTRY
    mov eax, FIRST_GONE             ; without its page
    mov ecx, ROUNDS
.marker_removed:
    call operation_loop
.marker_removed_end:
    mov edi, FIRST_ENTRY
    mov eax, FIRST_VALUE            ; with its page again
    mov ecx, ROUNDS
.marker_brought:
    call operation_loop
.marker_brought_end:

    ; Is everything there again, and what it was?
    mov eax, cr3
    mov cr3, eax                    ; forget what the TLB knows
    mov ebx, FIRST_PAGE
    mov ecx, ROUNDS
    mov edx, 0
.look:
    mov eax, [ebx]
    xor eax, ebx
    or edx, eax
    add ebx, PAGE_BYTES
    dec ecx
    jnz .look

    mov eax, ROUNDS
    call print_decimal
    mov esi, text_done
    call print

    test edx, edx
    setne al                        ; 0 if it is
.tell:
    out EXIT_PORT, al
    jmp halt

; The loop by itself, ECX rounds: what is left when the operation is taken out.
empty_loop:
    add edi, 4
    add eax, PAGE_BYTES
    dec ecx
    jnz empty_loop
    ret

; The same loop with the operation, ECX rounds.
operation_loop:
    mov [edi], eax
    add edi, 4
    add eax, PAGE_BYTES
    dec ecx
    jnz operation_loop
    ret

%include "../common/panic.asm"

; Map the first 4 MiB to themselves.
build_page_tables:
    mov edi, page_table
    mov eax, PAGE_PRESENT | PAGE_WRITE
    mov ecx, ENTRIES
.next:
    mov [edi], eax
    add edi, 4
    add eax, PAGE_BYTES             ; the next frame, with the same flags
    dec ecx
    jnz .next
    mov dword [page_directory], page_table + (PAGE_PRESENT | PAGE_WRITE)
    ret

%include "../common/print.asm"
%include "../common/print_decimal.asm"
%include "../common/putc.asm"

; ---- Data: never on a page with code ------------------------------------------------
align 4096, db 0
text_welcome:
    db "Page-table entries written as they were, cleared, and set again: ", 0
text_done:
    db " each.", 10, 0
text_panic:
    db "PANIC: an exception nobody expected.", 10, 0

align 4
gdt_pointer:
    dw gdt_end - gdt - 1            ; limit: the last valid byte
    dd gdt
    dw 0                            ; keeps the next one aligned
idt_pointer:
    dw idt_end - idt - 1
    dd idt

; ---- Global descriptor table, on a page of its own ----------------------------------
; A VMM that keeps a shadow of this table must notice every write to it, and it can
; only watch whole pages. For the same reason the Accessed bit (bit 0 of the type) is
; already set: the CPU would otherwise write it here on the first load of a segment.
align 4096, db 0
gdt:
    dq 0                            ; selector 0 is never valid
    dq 0x00CF9B000000FFFF           ; 0x08 ring 0 code: base 0, 4 GiB, execute/read
    dq 0x00CF93000000FFFF           ; 0x10 ring 0 data: base 0, 4 GiB, read/write
gdt_end:

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
idt_end:
image_end:

; ---- Memory that needs no place in the file -----------------------------------------
section .bss nobits align=4096
    resb 4096
kernel_stack_top:
page_directory:
    resb PAGE_BYTES
page_table:
    resb PAGE_BYTES
FIRST_ENTRY     equ page_table + FIRST_PAGE / PAGE_BYTES * 4 ; where the mapping of the first page is written
memory_end:

