; cpuid-loop: the kernel asks the CPU the same question 1,000 times.
;
; CPUID is an odd one. Every ring may execute it, the CPUs on which virtual machines came
; to the PC had no way to make it trap, and yet its answer is about the machine. With
; VT-x and AMD-V the hypervisor is asked in the CPU's place: VT-x leaves the guest at
; every CPUID whether the hypervisor wants it or not, AMD-V where the intercept is set.
; The instruction itself does very little, so what a loop of it costs is the way out of
; the guest and back in. That is why people who measure virtual machines like this loop.
;
; What the CPU answers depends on the CPU. That it answers the same every time does not.
;
; With PARAVIRT defined this becomes a kernel for a Xen-like hypervisor. CPUID stays as it
; is: in ring 1 the CPU itself answers, and the hypervisor is not even asked.

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

INTERRUPT_GATE  equ 0x8E            ; present, for ring 0, 32 bits, clears IF on entry

LEAF_VENDOR     equ 0               ; what to ask, in EAX
LEAF_SIGNATURE  equ 1
ROUNDS          equ 1000

%include "../common/ports.asm"

%ifdef PARAVIRT
HYPERCALL       equ 0x82            ; EAX says which, EBX, ECX, EDX have its arguments
SET_TRAP_TABLE  equ 0
SET_GDT         equ 2
SCHED_OP        equ 6
UPDATE_MAPPING  equ 14
CONSOLE_IO      equ 18
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
    popad
%else
    lidt [idt_pointer]

    ; Nothing here waits for hardware: silence it.
    mov al, 0xFF
    out PIC1_MASK, al
    out PIC2_MASK, al
%endif

    mov esi, text_welcome
    call print

    ; Leaf 0: the highest leaf in EAX, and twelve letters in EBX, EDX and ECX. The order
    ; is odd, but it is the one in which they make a word.
    mov eax, LEAF_VENDOR
    cpuid
    mov [highest_leaf], eax
    mov [vendor], ebx
    mov [vendor + 4], edx
    mov [vendor + 8], ecx

    ; Leaf 1: stepping, model and family in EAX.
    mov eax, LEAF_SIGNATURE
    cpuid
    mov [signature], eax

    mov esi, text_vendor
    call print
    mov esi, vendor
    call print
    mov esi, text_highest
    call print
    mov eax, [highest_leaf]
    mov ecx, 8
    call print_hex
    mov esi, text_signature
    call print
    mov eax, [signature]
    call print_hex
    mov al, 10
    call putc

    ; The loop. Whatever differs from the first answer leaves a bit in ESI: collecting
    ; differences needs no branch, so every round takes the same way.
    mov esi, 0
    mov edi, ROUNDS
.round:
    mov eax, LEAF_VENDOR
.marker_ask:
    cpuid                           ; changes EAX, EBX, ECX and EDX
    xor ebx, [vendor]
    or esi, ebx
    xor edx, [vendor + 4]
    or esi, edx
    xor ecx, [vendor + 8]
    or esi, ecx
    dec edi
    jnz .round
.marker_asked:
    mov [differences], esi

    mov eax, ROUNDS
    call print_decimal
    mov esi, text_asked
    call print
    mov eax, [differences]
    mov ecx, 8
    call print_hex
    mov esi, text_end
    call print

    cmp dword [differences], 0
    setne al                        ; 0 if every answer was the first one again
.marker_told:
%ifdef PARAVIRT
    jmp shut_down
%else
    out EXIT_PORT, al
    jmp halt
%endif

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
%include "../common/print_decimal.asm"
%include "../common/print_hex.asm"
%include "../common/putc.asm"

; ---- Data: never on a page with code ------------------------------------------------
align 4096, db 0
highest_leaf:
    dd 0
signature:
    dd 0
differences:
    dd 0
vendor:
    times 12 db 0
    db 0                            ; ends the text

text_welcome:
    db "Who are you, CPU?", 10, 0
text_vendor:
    db "Vendor ", 0
text_highest:
    db ", highest leaf ", 0
text_signature:
    db ", signature ", 0
text_asked:
    db " times asked again. Bits that ever differed: ", 0
text_end:
    db ".", 10
    db "The answer costs next to nothing. Where a hypervisor gives it, the way to it costs.", 10, 0
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
    trap 0, 0, 0                    ; the end
idt_end:
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
idt_end:
%endif
image_end:

; ---- Memory that needs no place in the file -----------------------------------------
section .bss nobits align=4096
    resb 4096
kernel_stack_top:
memory_end:

