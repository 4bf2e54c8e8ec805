; A guest that enters long mode by itself, for the tests: a 64-bit kernel at the top of the address space, with its own
; page tables, interrupt descriptor table, interrupt stacks and system calls, and a program in ring 3 that also runs in
; compatibility mode. It boots in QEMU as well (Multiboot), and says on the debug console what it did.
bits 32
org 0x100000
%define MAGIC 0x1BADB002
%define FLAGS 0x00010003
header:
    dd MAGIC, FLAGS, -(MAGIC+FLAGS), header, header, image_end, bss_end, start
start:
    mov esp, stack_top
    mov edi, pml4
    mov ecx, (bss_end-pml4)/4
    xor eax, eax
    rep stosd
    mov dword [pml4], pdpt+7
    mov dword [pml4+8*256], pdpt+7      ; FFFF8000_00000000h
    mov dword [pdpt], pd+7
    mov dword [pd], pt+7
    mov dword [pd+8], 0x200087
    mov ecx, 512
    mov eax, 7
    mov edi, pt
.fill:
    mov [edi], eax
    mov dword [edi+4], 0
    add eax, 4096
    add edi, 8
    loop .fill
    mov eax, cr4
    or eax, 0x220
    mov cr4, eax
    mov eax, pml4
    mov cr3, eax
    mov ecx, 0xC0000080
    rdmsr
    or eax, 0x901
    wrmsr
    mov eax, cr0
    or eax, 0x80010000
    mov cr0, eax
    lgdt [gdt32]
    jmp 8:in64
gdt32: dw gdt_end-gdt-1
    dd gdt
bits 64
in64:
    mov rax, 0xFFFF800000000000 + high
    jmp rax
%define V 0xFFFF800000000000
high:
    mov rsp, V+stack_top
    mov ax, 0x10
    mov ds, ax
    mov es, ax
    mov ss, ax
    xor eax, eax
    mov fs, ax
    mov gs, ax
    ; build IDT: 256 entries pointing to stubs
    mov rdi, V+idt
    mov rax, V+stub0
    mov ecx, 256
.i: mov [rdi], ax
    mov word [rdi+2], 8
    mov word [rdi+4], 0xEE00
    mov rdx, rax
    shr rdx, 16
    mov [rdi+6], dx
    shr rdx, 16
    mov [rdi+8], edx
    mov dword [rdi+12], 0
    add rdi, 16
    add rax, 16
    loop .i
    mov byte [V+idt+16*8+4], 1   ; double fault on IST 1
    mov byte [V+idt+16*14+4], 2  ; #PF on IST 2
    lidt [rel idtr]
    lgdt [rel gdtr]
    mov rax, V+tss
    mov [rel gdt+0x30+2], ax
    shr rax, 16
    mov [rel gdt+0x30+4], al
    mov [rel gdt+0x30+7], ah
    shr rax, 16
    mov [rel gdt+0x30+8], eax
    mov ax, 0x30
    ltr ax
    mov rax, V+stack0_top
    mov [rel tss+4], rax
    mov rax, V+ist1_top
    mov [rel tss+0x24], rax
    mov rax, V+ist2_top
    mov [rel tss+0x2c], rax
    mov word [rel tss+0x66], 0x68
    ; MSRs
    mov ecx, 0xC0000081
    xor eax, eax
    mov edx, 0x00180008
    wrmsr
    mov ecx, 0xC0000082
    mov rax, V+syscall_entry
    mov rdx, rax
    shr rdx, 32
    wrmsr
    mov ecx, 0xC0000084
    mov eax, 0x47700
    xor edx, edx
    wrmsr
    mov ecx, 0xC0000100
    mov eax, 0x9abcdef0
    mov edx, 0x1234
    wrmsr
    rdmsr
    mov ecx, 0xC0000101
    mov rax, V+percpu
    mov rdx, rax
    shr rdx, 32
    wrmsr
    mov ecx, 0xC0000102
    mov eax, 0x00180000
    xor edx, edx
    wrmsr
    mov rax, cr8
    mov eax, 5
    mov cr8, rax
    mov rbx, cr8
    mov r8, 0x1122334455667788
    mov r15, r8
    xor r15d, r15d
    lea r9, [rel data]
    movq xmm9, r8
    paddq xmm15, xmm9
    ; string
    mov rsi, r9
    lea rdi, [rel data2]
    mov ecx, 32
    cld
    rep movsq
    sidt [rel scratch]
    sgdt [rel scratch+16]
    smsw eax
    sldt ax
    str ax
    mov eax, 0x80000001
    cpuid
    ; page fault above 4 GiB
    mov rax, 0x0000123456789000
    mov r10, [rax]
    inc qword [rel count]
    ; non canonical
    mov rax, 0x0000800000000000
    mov r10, [rax]
    mov rbp, rax
    mov r10, [rbp]
    ud2
    int3
    int 0x80
    ; CR3 switch
    mov rax, cr3
    mov cr3, rax
    ; out string
    mov rsi, V+hello
    mov ecx, hello_len
    mov dx, 0xe9
    rep outsb
    mov al, 'x'
    out dx, al
    ; ring 3
    swapgs
    push 0x20|3
    mov rax, 0x182000
    push rax
    push 0x202
    push 0x28|3
    mov rax, user
    push rax
    iretq
syscall_entry:
    swapgs
    mov [gs:8], rsp
    mov rsp, [gs:0]
    push rcx
    push r11
    inc qword [rel count]
    cmp eax, 1
    je .out
    cmp eax, 2
    je .compat
    mov al, 0
    mov dx, 0xf4
    out dx, al
    hlt
.out:
    mov al, dil
    out 0xe9, al
    pop r11
    pop rcx
    mov rsp, [gs:8]
    swapgs
    o64 sysret
.compat:
    pop r11
    pop rcx
    mov rsp, [gs:8]
    swapgs
    o64 sysret
user:
    mov edi, 'U'
    mov eax, 1
    syscall
    mov rax, [fs:0x10]  ; faults: base 0x12349abcdef0
    cli                 ; #GP
    mov rax, [0x180000+0x300000]  ; PF
    int 0x31
    push qword 0x1b
    mov rax, compat
    push rax
    retfq
bits 32
compat:
    mov eax, 0x12345678
    push eax
    pop ebx
    inc ecx
    dec ecx
    int 0x32
    mov eax, [0x90000000]
    db 0xea
    dd back64
    dw 0x28|3
bits 64
back64:
    mov edi, 'V'
    mov eax, 1
    syscall
    mov eax, 3
    syscall
align 16
stub0:
%assign n 0
%rep 256
align 16
 %if n==8 || n==10 || n==11 || n==12 || n==13 || n==14 || n==17
  nop
  nop
 %else
  push 0
 %endif
  push strict dword n
  jmp strict near shared_entry
%assign n n+1
%endrep
align 16
shared_entry:
    push rax
    push rbx
    mov rax, cr2
    mov rbx, [rsp+16]
    mov [rel last], rbx
    add [rel sum], rax
    add [rel sum], rbx
    mov rbx, [rsp+24]
    add [rel sum], rbx
    mov rbx, [rsp+16]
    cmp rbx, 32
    jae .ret
    cmp rbx, 3
    je .ret
    ; skip the faulting instruction: table by vector: find length by rip byte
    mov rbx, [rsp+32]
    mov al, [rbx]
    cmp al, 0x0f    ; ud2
    je .two
    cmp al, 0xfa
    je .one
    cmp al, 0x4c    ; mov r10, [..]
    je .m
    cmp al, 0x64
    je .nine
    cmp al, 0x48
    je .eight
    cmp al, 0xa1
    je .five
    jmp .fail
.five: add qword [rsp+32], 5
    jmp .ret
.m: mov al, [rbx+2]
    cmp al, 0x55
    je .four
    add qword [rsp+32], 3
    jmp .ret
.four: add qword [rsp+32], 4
    jmp .ret
.nine: add qword [rsp+32], 9
    jmp .ret
.eight: add qword [rsp+32], 8
    jmp .ret
.two: add qword [rsp+32], 2
    jmp .ret
.one: add qword [rsp+32], 1
.ret:
    pop rbx
    pop rax
    add rsp, 16
    iretq
.fail: mov al, 1
    out 0xf4, al
    hlt
hello: db "long mode", 10
hello_len equ $-hello
align 16
gdt: dq 0
    dq 0x00AF9B000000FFFF   ; 08 code64
    dq 0x00CF93000000FFFF   ; 10 data
    dq 0x00CFFB000000FFFF   ; 18 code32 user
    dq 0x00CFF3000000FFFF   ; 20 data user
    dq 0x00AFFB000000FFFF   ; 28 code64 user
    dq 0x0000890000000068   ; 30 tss
    dq 0
gdt_end:
gdtr: dw gdt_end-gdt-1
    dq V+gdt
idtr: dw 4095
    dq V+idt
percpu: dq V+stack_top, 0
count: dq 0
last: dq 0
sum: dq 0
scratch: times 32 db 0
data: times 32 dq 0x0102030405060708
data2: times 32 dq 0
tss: times 0x6a db 0
    db 0xff
align 4096
image_end:
absolute image_end
pml4: resb 4096
pdpt: resb 4096
pd: resb 4096
pt: resb 4096
idt: resb 4096
    resb 8192
stack_top:
    resb 4096
stack0_top:
    resb 4096
ist1_top:
    resb 4096
ist2_top:
bss_end:
