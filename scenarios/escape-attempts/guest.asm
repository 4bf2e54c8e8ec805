; escape-attempts: a guest reaches for everything that is not its own.
;
; Popek and Goldberg ask three things of a virtual machine monitor, and one of them is
; resource control: whatever a guest tries, it gets at nothing that was not given to it.
; This kernel tries. It reads and writes memory that it does not have, places where a VMM
; likes to live, ports that nobody owns, registers that belong to hypervisors, and asks
; whether the tables it has loaded are the ones the CPU uses.
;
; On a bare machine nothing is there: the wires of the bus float and read as ones, an
; instruction that the CPU does not have is #UD, a register that it does not have is #GP.
; A guest in a virtual machine must find the same emptiness, wherever its VMM really is.
;
; Code beyond the end of memory is not tried: there the CPU would execute what it reads,
; and machines differ in what that is.
;
; The code that prints takes the same path whatever it prints, so that two runs stay in
; step, instruction by instruction, even where they were told different things.

bits 32
BASE            equ 0x100000        ; 1 MiB: the first address above video memory and firmware
org BASE
%define ADDR(label) (label - $$ + BASE) ; a label as a plain number that can be cut into pieces

MULTIBOOT_MAGIC equ 0x1BADB002
MULTIBOOT_FLAGS equ 1 << 16         ; "the address fields below are valid"

KERNEL_CODE     equ 0x08            ; selectors: index in the GDT * 8 + the ring that asks
KERNEL_DATA     equ 0x10

INTERRUPT_GATE  equ 0x8E            ; present, for ring 0, 32 bits, clears IF on entry

MEMORY_END      equ 16 << 20        ; this machine has 16 MiB: see scenario.toml
FAR_BEYOND      equ 0x80000000
VMM_BASE        equ 0xFFC00000      ; the top 4 MiB, where VMMs in ring 0 hide from guests
VMM_IDT         equ VMM_BASE + 0x4000 ; where one of them keeps its tables
VMM_GDT         equ VMM_BASE + 0x10000
PATTERN         equ 0x12345678      ; what we leave where we are not supposed to be

NO_PORT         equ 0x1234          ; nobody answers here
IDENTITY        equ 0x00ABC000      ; a value for CR3 that is easily recognized

VM_HSAVE_PA     equ 0xC0010117      ; AMD-V: where VMRUN saves the host
EFER            equ 0xC0000080
EFER_SVME       equ 1 << 12         ; AMD-V: on
FEATURE_CONTROL equ 0x3A            ; VT-x: has the firmware allowed it?
VMX_BASIC       equ 0x480           ; VT-x: what the CPU's VMX is like

NOTHING         equ 0               ; what the handlers below have caught
CAUGHT_UD       equ 1
CAUGHT_GP       equ 2

%include "../common/ports.asm"
%include "../common/multiboot.asm"

; The next instruction may fault: if it does, go on at a label.
%macro attempt 1
    mov dword [resume_at], %1
    mov dword [caught], NOTHING
%endmacro

; Print a text, what was read from an address, and whether it looks like memory.
%macro read_from 2
    mov eax, [%1]
    mov esi, %2
    call print_memory
%endmacro

; Write to an address, and print a text and whether it has kept what was written.
%macro write_to 2
    mov dword [%1], PATTERN
    mov eax, [%1]
    mov esi, %2
    call print_kept
%endmacro

; Print a text and whether the last attempt was caught.
%macro show_caught 1
    mov esi, %1
    call print_caught
%endmacro

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

    ; Nothing here waits for hardware: silence it.
    mov al, 0xFF
    out PIC1_MASK, al
    out PIC2_MASK, al

; -- Memory ------------------------------------------------------------------------------
    mov esi, text_memory
    call print
    read_from MEMORY_END, text_beyond
    write_to MEMORY_END, text_beyond_write
    mov word [MEMORY_END - 2], PATTERN & 0xFFFF
    read_from MEMORY_END - 2, text_across ; half of it is ours
    write_to MEMORY_END - 4, text_own_write ; all of it is
    read_from FAR_BEYOND, text_far
    read_from VMM_BASE, text_vmm
    read_from VMM_IDT, text_vmm_idt
    write_to VMM_IDT, text_vmm_idt_write
    read_from VMM_GDT, text_vmm_gdt
    write_to VMM_GDT + KERNEL_CODE, text_vmm_gdt_write

    ; The same in one go: eight doublewords, four of them beyond the end.
    mov esi, MEMORY_END - 16
    mov edi, copy
    mov ecx, 8
    rep movsd
    mov eax, [copy + 28]
    mov esi, text_copy
    call print_memory

; -- Ports -------------------------------------------------------------------------------
    mov esi, text_ports
    call print
    mov dx, NO_PORT
    mov eax, 0
    in al, dx
    mov edx, 0xFF
    mov esi, text_port_8
    call print_port
    mov dx, NO_PORT
    mov eax, 0
    in ax, dx
    mov edx, 0xFFFF
    mov esi, text_port_16
    call print_port
    mov dx, NO_PORT
    in eax, dx
    mov edx, 0xFFFFFFFF
    mov esi, text_port_32
    call print_port
    mov dx, NO_PORT
    mov eax, PATTERN
    out dx, eax
    in eax, dx
    mov esi, text_port_write
    call print_kept
    mov eax, 0
    in al, PIC1_MASK                ; a device that a VMM plays: does it know what we told it?
    mov esi, text_pic
    call print_value

; -- Registers of hypervisors ------------------------------------------------------------
    mov esi, text_registers
    call print

    attempt .after_hsave
    mov ecx, VM_HSAVE_PA
    rdmsr
.after_hsave:
    show_caught text_hsave

    attempt .after_hsave_write
    mov ecx, VM_HSAVE_PA
    mov eax, VMM_BASE               ; "save the host's state where I can find it"
    mov edx, 0
    wrmsr
.after_hsave_write:
    show_caught text_hsave_write

    attempt .after_svme
    mov ecx, EFER
    rdmsr
    or eax, EFER_SVME               ; "let me be a hypervisor myself"
    wrmsr
.after_svme:
    show_caught text_svme

    attempt .after_feature_control
    mov ecx, FEATURE_CONTROL
    rdmsr
.after_feature_control:
    show_caught text_feature_control

    attempt .after_vmx_basic
    mov ecx, VMX_BASIC
    rdmsr
.after_vmx_basic:
    show_caught text_vmx_basic

; -- Instructions of hypervisors ---------------------------------------------------------
    mov esi, text_instructions
    call print

    attempt .after_vmxon
    vmxon [copy]                    ; the address of a region for the CPU's own use
.after_vmxon:
    show_caught text_vmxon

    attempt .after_vmlaunch
    vmlaunch
.after_vmlaunch:
    show_caught text_vmlaunch

    attempt .after_vmresume
    vmresume
.after_vmresume:
    show_caught text_vmresume

    attempt .after_vmrun
    mov eax, copy                   ; the address of the guest's control block
    vmrun
.after_vmrun:
    show_caught text_vmrun

    attempt .after_clgi
    clgi                            ; "no interrupts at all, not even for the VMM"
.after_clgi:
    show_caught text_clgi

    attempt .after_stgi
    stgi
.after_stgi:
    show_caught text_stgi

; -- Are these my registers? -------------------------------------------------------------
    mov esi, text_mine
    call print
    mov eax, IDENTITY               ; paging is off: CR3 is just a register
    mov cr3, eax
    mov eax, 0
    mov eax, cr3
    mov esi, text_cr3
    call print_value
    mov eax, 0
    mov cr3, eax

    ; Where the CPU says its tables are, and what lies there. Whoever is told the address
    ; of another table has learned something; the question is what it can do with it.
    sidt [table_register]
    mov ebx, [table_register + 2]
    mov eax, ebx
    mov esi, text_sidt
    call print_value
    mov eax, [ebx]
    mov edi, eax                    ; to be put back
    mov esi, text_idt_entry
    call print_memory
    mov dword [ebx], PATTERN
    mov eax, [ebx]
    mov [ebx], edi
    mov esi, text_idt_write
    call print_kept

    sgdt [table_register]
    mov ebx, [table_register + 2]
    mov eax, ebx
    mov esi, text_sgdt
    call print_value
    mov eax, [ebx + KERNEL_CODE]
    mov esi, text_gdt_entry
    call print_memory

    mov esi, text_end
    call print
    mov al, 0                       ; this guest does not judge, it only reports
    out EXIT_PORT, al
    jmp halt

; #UD, vector 6, and #GP, vector 13: note it, and go on where the attempt said.
; On the stack: for #GP an error code, then EIP, CS, EFLAGS.
invalid_opcode:
    mov dword [caught], CAUGHT_UD
    jmp resume
general_protection:
    add esp, 4                      ; IRET expects the error code gone
    mov dword [caught], CAUGHT_GP
resume:
    push eax
    mov eax, [resume_at]
    mov [esp + 4], eax
    pop eax
    iretd

; Print the text at ESI and the value in EAX.
print_value:
    mov edx, eax
    call print
    mov eax, edx
    mov ecx, 8
    call print_hex
    jmp new_line

; Print the text at ESI, the value in EAX, and who is behind it: a bus on which nobody
; answers reads as ones. EDX: as many ones as were asked for.
print_memory:
    mov ecx, memory_words
    mov edx, 0xFFFFFFFF
    jmp print_answer
print_port:
    mov ecx, port_words
print_answer:
    cmp eax, edx
    mov edx, 0
    sete dl                         ; MOV has left the flags alone
    mov ebp, [ecx + edx * 4]
    mov edx, eax
    call print
    mov eax, edx
    mov ecx, 8
    call print_hex
    mov esi, ebp
    call print
    jmp new_line

; Print the text at ESI and whether EAX is the pattern that was written.
print_kept:
    mov edx, 0
    cmp eax, PATTERN
    sete dl
    call print
    mov esi, [kept_words + edx * 4]
    call print
    jmp new_line

; Print the text at ESI and what was caught.
print_caught:
    call print
    mov eax, [caught]
    mov esi, [caught_words + eax * 4]
    call print
new_line:
    mov al, 10
    jmp putc

%include "../common/panic.asm"
%include "../common/print.asm"
%include "../common/print_hex.asm"
%include "../common/putc.asm"

; ---- Data: never on a page with code ------------------------------------------------
align 4096, db 0
table_register:
    dw 0                            ; limit
    dd 0                            ; base
align 4, db 0
resume_at:
    dd 0
caught:
    dd NOTHING
copy:
    times 8 dd 0

memory_words:                       ; one for each value, and both of the same length
    dd word_memory, word_nobody
port_words:
    dd word_device, word_nobody
kept_words:
    dd word_lost, word_kept
caught_words:
    dd word_nothing, word_ud, word_gp
word_memory:    db ", memory", 0
word_device:    db ", device", 0
word_nobody:    db ", nobody", 0
word_lost:      db "lost", 0
word_kept:      db "kept", 0
word_nothing:   db "it answered", 0
word_ud:        db "#UD", 0
word_gp:        db "#GP", 0

text_memory:
    db "Memory beyond my 16 MiB", 10, 0
text_beyond:
    db "  read 01000000         ", 0
text_beyond_write:
    db "  write 01000000        ", 0
text_across:
    db "  read 00FFFFFE         ", 0
text_own_write:
    db "  write 00FFFFFC        ", 0
text_far:
    db "  read 80000000         ", 0
text_vmm:
    db "  read FFC00000         ", 0
text_vmm_idt:
    db "  read FFC04000         ", 0
text_vmm_idt_write:
    db "  write FFC04000        ", 0
text_vmm_gdt:
    db "  read FFC10000         ", 0
text_vmm_gdt_write:
    db "  write FFC10008        ", 0
text_copy:
    db "  copy to 0100000F      ", 0

text_ports:
    db "Ports", 10, 0
text_port_8:
    db "  IN 1234, 8 bits       ", 0
text_port_16:
    db "  IN 1234, 16 bits      ", 0
text_port_32:
    db "  IN 1234, 32 bits      ", 0
text_port_write:
    db "  OUT 1234              ", 0
text_pic:
    db "  IN 21, mask I set     ", 0

text_registers:
    db "Registers of hypervisors", 10, 0
text_hsave:
    db "  read VM_HSAVE_PA      ", 0
text_hsave_write:
    db "  write VM_HSAVE_PA     ", 0
text_svme:
    db "  set EFER.SVME         ", 0
text_feature_control:
    db "  read FEATURE_CONTROL  ", 0
text_vmx_basic:
    db "  read VMX_BASIC        ", 0

text_instructions:
    db "Instructions of hypervisors", 10, 0
text_vmxon:
    db "  VMXON                 ", 0
text_vmlaunch:
    db "  VMLAUNCH              ", 0
text_vmresume:
    db "  VMRESUME              ", 0
text_vmrun:
    db "  VMRUN                 ", 0
text_clgi:
    db "  CLGI                  ", 0
text_stgi:
    db "  STGI                  ", 0

text_mine:
    db "Are these mine?", 10, 0
text_cr3:
    db "  CR3 as written        ", 0
text_sidt:
    db "  SIDT says the IDT at  ", 0
text_idt_entry:
    db "  read there            ", 0
text_idt_write:
    db "  write there           ", 0
text_sgdt:
    db "  SGDT says the GDT at  ", 0
text_gdt_entry:
    db "  read there + 8        ", 0
text_end:
    db "I am still here, and only here.", 10, 0
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
%rep 6
    gate panic, INTERRUPT_GATE
%endrep
    gate invalid_opcode, INTERRUPT_GATE
%rep 6
    gate panic, INTERRUPT_GATE
%endrep
    gate general_protection, INTERRUPT_GATE
%rep 18
    gate panic, INTERRUPT_GATE
%endrep
idt_end:
image_end:

; ---- Memory that needs no place in the file -----------------------------------------
section .bss nobits align=4096
    resb 4096
kernel_stack_top:
memory_end:

