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

bits 32
BASE            equ 0x100000        ; 1 MiB: the first address above video memory and firmware
org BASE
%define ADDR(label) (label - $$ + BASE) ; a label as a plain number that can be cut into pieces

MULTIBOOT_MAGIC equ 0x1BADB002
MULTIBOOT_FLAGS equ 1 << 16         ; "the address fields below are valid"

KERNEL_CODE     equ 0x08            ; selectors: index in the GDT * 8 + the ring that asks
KERNEL_DATA     equ 0x10

INTERRUPT_GATE  equ 0x8E            ; present, for ring 0, 32 bits, clears IF on entry

LEAF_VENDOR     equ 0               ; what to ask, in EAX
LEAF_SIGNATURE  equ 1
ROUNDS          equ 1000

COM1            equ 0x3F8           ; first serial port
COM1_LINE_STAT  equ COM1 + 5
STAT_ROOM       equ 0x20            ; line status: the transmitter can take a byte
PIC1_MASK       equ 0x21
PIC2_MASK       equ 0xA1
EXIT_PORT       equ 0xF4            ; value v ends the run with exit code (v << 1) | 1
EXIT_PANIC      equ 0x7F

; ---- Multiboot header: how the loader finds its way --------------------------------
align 4
multiboot_header:
    dd MULTIBOOT_MAGIC
    dd MULTIBOOT_FLAGS
    dd -(MULTIBOOT_MAGIC + MULTIBOOT_FLAGS) ; the three add up to 0
    dd multiboot_header             ; where this header belongs in memory
    dd BASE                         ; where the image begins
    dd image_end                    ; where it ends
    dd memory_end                   ; zeroed up to here
    dd start                        ; first instruction

; ---- Kernel code (ring 0) -----------------------------------------------------------
start:
    mov esp, kernel_stack_top       ; the loader promises no stack
    cld                             ; LODSB is to walk upwards

    ; The loader's segments work, but nobody says where their table is: bring our own.
    lgdt [gdt_pointer]
    jmp KERNEL_CODE:.reload         ; CS changes only by a far transfer
.reload:
    mov ax, KERNEL_DATA
    mov ds, ax
    mov es, ax
    mov ss, ax
    lidt [idt_pointer]

    ; Nothing here waits for hardware: silence it.
    mov al, 0xFF
    out PIC1_MASK, al
    out PIC2_MASK, al

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
    cpuid                           ; changes EAX, EBX, ECX and EDX
    xor ebx, [vendor]
    or esi, ebx
    xor edx, [vendor + 4]
    or esi, edx
    xor ecx, [vendor + 8]
    or esi, ecx
    dec edi
    jnz .round
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
    out EXIT_PORT, al
    jmp halt

; Any exception that this kernel did not plan for.
panic:
    mov esi, text_panic
    call print
    mov al, EXIT_PANIC
    out EXIT_PORT, al
halt:                               ; only reached where there is no exit port
    hlt
    jmp halt

; Print the text at ESI, up to its zero byte. Changes EAX and ESI.
print:
    lodsb
    test al, al
    jz .done
    call putc
    jmp print
.done:
    ret

; Print EAX in decimal. Changes no register.
print_decimal:
    pushad
    mov ebx, 10
    mov ecx, 0                      ; digits on the stack
.divide:                            ; the last digit comes out first,
    mov edx, 0
    div ebx
    push edx
    inc ecx
    test eax, eax
    jnz .divide
.digit:                             ; so the stack turns them round
    pop eax
    add al, '0'
    call putc
    dec ecx
    jnz .digit
    popad
    ret

; Print the last ECX hexadecimal digits of EAX, 1 to 8 of them. Changes no register.
print_hex:
    pushad
    mov edx, eax
    mov ebx, ecx                    ; digits to go
    neg ecx
    lea ecx, [ecx * 4 + 32]
    shl edx, cl                     ; the first wanted digit is now at the top
.digit:
    rol edx, 4
    mov eax, edx
    and eax, 15
    mov al, [hex_digits + eax]
    call putc
    dec ebx
    jnz .digit
    popad
    ret

; Send the character in AL. Changes no register.
putc:
    push edx
    push eax
    mov edx, COM1_LINE_STAT
.wait:
    in al, dx
    test al, STAT_ROOM
    jz .wait
    pop eax
    mov edx, COM1
    out dx, al
    pop edx
    ret

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
memory_end:
