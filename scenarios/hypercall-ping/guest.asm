; hypercall-ping: "Is there anybody above me?", and 64 calls through a gate.
;
; A program calls its kernel with INT 80h. A kernel that knows it runs on a hypervisor
; can call that in the same way; such a call is a hypercall. Intel's VT-x has VMCALL for
; it and AMD's AMD-V has VMMCALL. Xen, which is older than both, used INT 82h.
;
; This kernel first looks for a hypervisor. The two instructions raise #UD (invalid
; opcode, vector 6) where nobody answers them; CPUID has a bit for hypervisors that wish
; to be known, and a leaf for their name. A hypervisor may well keep quiet in all three.
; Then the kernel sends 64 calls through INT 82h. Nobody is above it, so it has put a
; handler of its own behind that gate: the calls and answers are as they would be.
;
; The code that prints takes the same path whatever it prints, so that the runs on two
; machines can be laid side by side instruction by instruction.

bits 32
BASE            equ 0x100000        ; 1 MiB: the first address above video memory and firmware
org BASE
%define ADDR(label) (label - $$ + BASE) ; a label as a plain number that can be cut into pieces

MULTIBOOT_MAGIC equ 0x1BADB002
MULTIBOOT_FLAGS equ 1 << 16         ; "the address fields below are valid"

KERNEL_CODE     equ 0x08            ; selectors: index in the GDT * 8 + the ring that asks
KERNEL_DATA     equ 0x10

INTERRUPT_GATE  equ 0x8E            ; present, for ring 0, 32 bits, clears IF on entry

CPUID_FEATURES  equ 1               ; CPUID leaf 1: what the CPU can do
HYPERVISOR_BIT  equ 31              ; its bit in ECX: "I am a virtual CPU"
CPUID_NAME      equ 0x40000000      ; highest leaf of the hypervisor, and its name

HYPERCALL       equ 0x82            ; Xen's vector
XEN_VERSION     equ 17              ; Xen's number for "which version are you?", in EAX
VERSION         equ 0x00020000      ; what our own handler answers: 2.0
PINGS           equ 64

%include "../common/ports.asm"
%include "../common/multiboot.asm"

; ---- Kernel code (ring 0) -----------------------------------------------------------
start:
    mov esp, kernel_stack_top       ; the loader promises no stack
    cld                             ; LODSB is to walk upwards
    call own_the_machine

    mov esi, text_welcome
    call print

; -- Is there anybody? The instructions made for the question --
    mov esi, text_vmcall
    call print
    mov dword [undefined], 0
    vmcall                          ; 0F 01 C1
    call print_undefined

    mov esi, text_vmmcall
    call print
    mov dword [undefined], 0
    vmmcall                         ; 0F 01 D9
    call print_undefined

; -- The bit and the name --
    mov esi, text_bit
    call print
    mov eax, CPUID_FEATURES
    cpuid
    shr ecx, HYPERVISOR_BIT
    mov esi, [bit_words + ecx * 4]
    call print

    mov eax, CPUID_NAME
    cpuid
    mov [name_leaf], eax
    mov [name], ebx
    mov [name + 4], ecx
    mov [name + 8], edx
    mov esi, text_name
    call print
    mov eax, [name_leaf]
    mov ecx, 8
    call print_hex
    mov esi, text_named
    call print
    call print_name
    mov esi, text_end_of_name
    call print

; -- The calls --
    mov ebp, PINGS
    mov edi, 0                      ; right answers
.ping:
    mov eax, XEN_VERSION            ; the call, and its arguments in EBX, ECX, ...:
    mov ebx, 0                      ; which form of the version
    int HYPERCALL
    cmp eax, VERSION
    sete al
    movzx eax, al
    add edi, eax
    dec ebp
    jnz .ping

    mov eax, [calls]
    call print_decimal
    mov esi, text_calls
    call print
    mov eax, edi
    call print_decimal
    mov esi, text_answers
    call print

    mov eax, PINGS
    sub eax, edi                    ; 0 if every answer was right
    jmp end_run

; What only the owner of the machine may do is gathered here and in the two routines at
; the end: loading the tables, silencing the hardware, talking to ports.
own_the_machine:
    ; The loader's segments work, but nobody says where their table is: bring our own.
    lgdt [gdt_pointer]
    jmp KERNEL_CODE:.reload         ; CS changes only by a far transfer
.reload:
    mov ax, KERNEL_DATA
    mov ds, ax
    mov es, ax
    mov ss, ax
    lidt [idt_pointer]
    mov al, 0xFF                    ; nothing here waits for hardware: silence it
    out PIC1_MASK, al
    out PIC2_MASK, al
    ret

; INT 82h. In EAX the number of the call, and there the answer goes as well. On the
; stack: EIP, CS, EFLAGS. The ring does not change: nobody is above this kernel.
hypercall:
    inc dword [calls]
    cmp eax, XEN_VERSION
    jne panic                       ; this handler knows one call only
    mov eax, VERSION
    iretd

; #UD, vector 6. On the stack: EIP, CS, EFLAGS. EIP points AT the instruction that the
; CPU does not know; both that this kernel tries are three bytes long.
invalid_opcode:
    inc dword [undefined]
    add dword [esp], 3              ; step over it, or it would fault for ever
    iretd

; Print what became of VMCALL or VMMCALL: whether the handler above was there.
print_undefined:
    mov eax, [undefined]
    and eax, 1
    mov esi, [undefined_words + eax * 4]
    jmp print

; Print the twelve bytes at `name`, in any case something printable.
print_name:
    mov esi, name
    mov ecx, 12
    mov eax, 0
.byte:
    lodsb
    mov al, [printable + eax]
    call putc
    dec ecx
    jnz .byte
    ret

%include "../common/panic.asm"
%include "../common/print.asm"
%include "../common/print_decimal.asm"
%include "../common/print_hex.asm"
%include "../common/putc.asm"

; End the run with the value in AL.
end_run:
    out EXIT_PORT, al
    jmp halt

; ---- Data: never on a page with code ------------------------------------------------
align 4096, db 0
undefined:
    dd 0                            ; times #UD came
calls:
    dd 0                            ; times INT 82h came
name_leaf:
    dd 0
name:
    times 12 db 0

align 4
undefined_words:                    ; one for each value, all of the same length
    dd text_went_on, text_undefined
bit_words:
    dd text_bit_0, text_bit_1

text_welcome:
    db "Is there anybody above me?", 10, 0
text_vmcall:
    db "VMCALL  -> ", 0
text_vmmcall:
    db "VMMCALL -> ", 0
text_undefined:
    db "#UD: the CPU does not know it. Nobody there.", 10, 0
text_went_on:
    db "no fault: somebody took the call, and knows.", 10, 0
text_bit:
    db "CPUID 1, ECX bit 31 -> ", 0
text_bit_0:
    db "0: nobody who would say so.", 10, 0
text_bit_1:
    db "1: this CPU is virtual.    ", 10, 0
text_name:
    db "CPUID 40000000 -> EAX ", 0
text_named:
    db ", name ", '"', 0
text_end_of_name:
    db '"', 10, 0
text_calls:
    db " calls through INT 82h, ", 0
text_answers:
    db " right answers. My own handler gave them: I was talking to myself.", 10, 0
text_panic:
    db "PANIC: an exception nobody expected.", 10, 0
hex_digits:
    db "0123456789ABCDEF"
printable:                          ; every byte as itself or, where it would not show, as a dot
%assign byte 0
%rep 256
  %if byte >= ' ' && byte <= '~'
    db byte
  %else
    db '.'
  %endif
  %assign byte byte + 1
%endrep

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
%rep 25
    gate panic, INTERRUPT_GATE
%endrep
    times (HYPERCALL - 32) dq 0     ; not present
    gate hypercall, INTERRUPT_GATE  ; for ring 0 only: programs have no business here
idt_end:
image_end:

; ---- Memory that needs no place in the file -----------------------------------------
section .bss nobits align=4096
    resb 4096
kernel_stack_top:
memory_end:

