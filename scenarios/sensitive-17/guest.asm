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

bits 32
BASE            equ 0x100000        ; 1 MiB: the first address above video memory and firmware
org BASE
%define ADDR(label) (label - $$ + BASE) ; a label as a plain number that can be cut into pieces

MULTIBOOT_MAGIC equ 0x1BADB002
MULTIBOOT_FLAGS equ 1 << 16         ; "the address fields below are valid"

KERNEL_CODE     equ 0x08            ; selectors: index in the GDT * 8 + the ring that asks
KERNEL_DATA     equ 0x10
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

; ---- Kernel code (ring 0, or so it thinks) ------------------------------------------
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

    mov esi, text_registers
    call print

; -- Sensitive register instructions -----------------------------------------------------
; There is one GDTR, one IDTR and one LDTR in the CPU, and a VMM needs them itself.
    mov esi, text_sgdt
    call print
    sgdt [table_register]
    call print_table_register

    mov esi, text_sidt
    call print
    sidt [table_register]
    call print_table_register

    mov esi, text_sldt
    call print
    sldt ax
    call print_selector

; The low half of CR0. A VMM has its own idea of some bits: NE, say, which this kernel
; has cleared.
    mov esi, text_smsw
    call print
    smsw ax
    and eax, CR0_LOW_BITS
    call print_selector

; The interrupt flag. CLI and STI are privileged and trap; these two are their back door.
    mov esi, text_pushf
    call print
    cli
    pushfd
    call print_if

    mov esi, text_popf
    call print
    sti
    push dword FLAGS_FIXED
    popfd
    pushfd
    call print_if
    cli

    mov esi, text_protection
    call print

; -- Protection system instructions ------------------------------------------------------
; Four questions about segments. They look at the ring that asks, and at a descriptor that
; a VMM cannot leave at ring 0.
    mov esi, text_lar
    call print
    mov ecx, KERNEL_DATA
    mov eax, 0
    lar eax, ecx
    and eax, 0x00F0FF00             ; bits 19:16 are undefined
    mov ecx, 8
    call print_hex
    call new_line

    mov esi, text_lsl
    call print
    mov ecx, KERNEL_DATA
    mov eax, 0
    lsl eax, ecx
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
    call print_selector

; CS and SS show the current ring in their low two bits to whoever stores them.
    mov esi, text_push
    call print
    push cs
    pop eax                         ; the upper half is undefined; only AX is printed
    call print_selector

; A far CALL leaves the old CS on the stack, and with it the ring.
    mov esi, text_call
    call print
    call KERNEL_CODE:far_routine
    call print_selector

; A far JMP asked for RPL 0. Which ring did it come to?
    mov esi, text_jmp
    call print
    jmp KERNEL_CODE:.landed
.landed:
    mov ax, cs
    call print_selector

; INT n goes through the table that IDTR names: the VMM's. So a VMM hears of it after all,
; and can push what the kernel expects. It is on the list because CPL is compared with the
; gate's DPL on the way.
    mov esi, text_int
    call print
    int OWN_VECTOR
    call print_selector

; A far RET may lead to the same ring or to an outer one, never inward.
    mov esi, text_ret
    call print
    push dword KERNEL_CODE
    push dword .returned
    retf
.returned:
    mov ax, cs
    call print_selector

    mov esi, text_str
    call print
    str ax
    call print_selector

    mov esi, text_mov
    call print
    mov ax, ss
    call print_selector

    mov al, 0                       ; this guest does not judge, it only reports
    out EXIT_PORT, al
    jmp halt

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
    dq 0                            ; 0x18 and 0x20 are ring 3's place in the other guests;
    dq 0                            ; there is no ring 3 here
    dw tss_end - tss - 1            ; 0x28 the TSS: limit 15:0
    dw ADDR(tss) & 0xFFFF           ;      base 15:0
    db (ADDR(tss) >> 16) & 0xFF     ;      base 23:16
    db 0x89                         ;      present, ring 0, 32-bit TSS, not busy
    db 0                            ;      limit 19:16, counted in bytes
    db ADDR(tss) >> 24              ;      base 31:24
    dw ldt_end - ldt - 1            ; 0x30 the LDT, in the same layout
    dw ADDR(ldt) & 0xFFFF
    db (ADDR(ldt) >> 16) & 0xFF
    db 0x82                         ;      present, ring 0, LDT
    db 0
    db ADDR(ldt) >> 24
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
    times (OWN_VECTOR - 32) dq 0    ; not present
    gate own_handler, INTERRUPT_GATE
idt_end:

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
