"""Guests that begin in real mode: sources for NASM, made into scenario folders."""

from __future__ import annotations

from pathlib import Path

from ringviz.guest import Scenario
from ringviz.guest.scenario import load_scenario
from tests.machine.guests import assemble

LOAD = 0x7C00
_TOML = """\
schema = 1
title = "A test's guest"
summary = "Begins in real mode."
level = "advanced"
[guest]
source = "guest.asm"
image = "guest.bin"
format = "flat"
memory_mib = 4
load = 0x7C00
entry = 0x7C00
start = "real"
[limits]
instructions = {limit}
"""
PROLOGUE = """\
bits 16
org 0x7C00
        xor ax, ax
        mov ds, ax
        mov es, ax
        mov ss, ax
        mov sp, 0x7C00
"""
"""Flat data and a stack below the code."""
END = """
finish: cli
        hlt
"""
HANDLERS = """
; AX = vector, DI = handler: into the table at 0
set_vector:
        push bx
        mov bx, ax
        shl bx, 2
        mov [bx], di
        mov [bx + 2], cs
        pop bx
        ret
skip_two:                       ; a fault of an instruction of two bytes: note the frame's flags, go on behind it
        push bp
        mov bp, sp
        push ax
        mov ax, [bp + 6]
        mov [0x600], ax
        inc word [0x602]
        add word [bp + 2], 2
        pop ax
        pop bp
        iret
skip_three:
        push bp
        mov bp, sp
        inc word [0x604]
        add word [bp + 2], 3
        pop bp
        iret
"""


def real_mode_scenario(folder: Path, source: str, *, limit: int = 10_000) -> Scenario:
    """Assemble a guest and load it as a scenario."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "scenario.toml").write_text(_TOML.format(limit=limit), encoding="utf-8")
    (folder / "guest.asm").write_text(source, encoding="utf-8")
    (folder / "guest.bin").write_bytes(assemble(source, folder))
    return load_scenario(folder)


EVERYDAY = (
    PROLOGUE
    + """
        mov ax, 0x21
        mov di, service
        call set_vector
        mov ax, 6
        mov di, skip_three
        call set_vector
        mov ax, 0
        mov di, skip_two
        call set_vector
        ; segment registers, all ways
        mov ax, 0x1234
        mov es, ax
        push es
        pop fs
        push word 0x2345
        pop gs
        mov ax, gs
        mov [0x610], es
        mov [0x612], fs
        mov word [0x620], 0x0010
        mov word [0x622], 0x0070
        lds si, [0x620]
        mov bx, ds
        les di, [cs:0x620]
        lfs ax, [cs:0x620]
        lgs ax, [cs:0x620]
        xor ax, ax
        mov ds, ax
        mov es, ax
        ; flags: IF, IOPL and NT as pushed and popped
        pushf
        pop ax
        sti
        pushf
        pop bx
        cli
        pushfd
        pop ecx
        push word 0x7202
        popf
        pushf
        pop dx
        push dword 0x00200002
        popfd
        pushfd
        pop ebp
        push word 0x0002
        popf
        ; interrupts
        mov ah, 9
        int 0x21
        sti
        int 0x21
        into
        mov al, 0x7F
        add al, 1
        cli
        mov dl, 0
        div dl                  ; #DE: two bytes
        mov [0x606], ax
        db 0x0F, 0x00, 0xC0     ; sldt ax: #UD
        db 0x0F, 0x00, 0xC8     ; str ax: #UD
        db 0x0F, 0x02, 0xC0     ; lar ax, ax: #UD
        db 0x0F, 0x00, 0xE0     ; verr ax: #UD
        ; far calls and jumps
        call 0:near_far
        call far [pointer]
        push cs
        push word after
        retf
after:  jmp 0x07C0:(here - 0x7C00)
here:   mov ax, cs
        jmp 0:there
there:  ; an interrupt frame by hand
        pushf
        push cs
        push word back
        iret
back:   pushfd
        push dword 0
        push dword back32
        iretd
back32:
        ; strings, over the end of a segment too
        mov si, 0x7C00
        mov di, 0xFFF0
        mov cx, 0x20
        cld
        rep movsb
        mov ax, 0x9000
        mov es, ax
        xor di, di
        mov cx, 100
        mov eax, 0x12345678
        rep stosd
        mov di, 40
        std
        mov cx, 7
        rep scasb
        cld
        ; ports
        mov dx, 0xE9
        mov al, 'r'
        out dx, al
        mov si, text
        mov cx, 4
        rep outsb
        in al, 0x21
        mov dx, 0x3FD
        in al, dx
        mov ax, 0x9000
        mov es, ax
        mov di, 0x100
        insb
        ; up to 64 KiB above 1 MiB
        mov ax, 0xFFFF
        mov es, ax
        mov dword [es:0x10], 0xCAFEBABE
        mov eax, [es:0x10]
        ; control registers and tables, read and written
        mov eax, cr0
        mov ebx, cr4
        mov cr4, ebx
        mov eax, dr7
        lmsw ax
        clts
        wbinvd
        sidt [0x630]
        sgdt [0x638]
        smsw ax
        rdtsc
        xor eax, eax
        cpuid
        jmp finish
service:
        push bp
        mov bp, sp
        mov ax, [bp + 6]        ; the flags that INT pushed
        or byte [bp + 6], 1
        pop bp
        iret
near_far:
        retf
pointer: dw near_far, 0
text:   db "eal", 10
"""
    + HANDLERS
    + END
)

GDT_SOURCE = """
align 8
gdt:    dq 0
        dq 0x00CF9A000000FFFF   ; 08 code, 32 bits
        dq 0x00CF92000000FFFF   ; 10 data, 4 GiB
        dq 0x00009A000000FFFF   ; 18 code, 16 bits
        dq 0x000092000000FFFF   ; 20 data, 64 KiB
gdtr:   dw gdtr - gdt - 1
        dd gdt
"""

THERE_AND_BACK = (
    PROLOGUE
    + """
        mov cx, 3
again:  push cx
        mov ax, cx
        and ax, 1               ; in every other round a selector with an RPL: VM entry would refuse it
        mov fs, ax
        cli
        lgdt [gdtr]
        mov eax, cr0
        or al, 1
        mov cr0, eax
        mov bx, 5               ; still on what real mode left
        mov [0x610], bx
        push bx
        pop bx
        pushf
        pop dx
        jmp 0x08:protected
bits 32
protected:
        mov ax, 0x10
        mov ds, ax
        mov es, ax
        mov ss, ax
        movzx esp, sp
        inc dword [0x600]
        mov eax, cr0
        pushfd
        pop dword [0x604]
        mov dword [0x150000], 0x11223344
        jmp 0x18:narrow
bits 16
narrow: mov ax, 0x20
        mov ds, ax
        mov es, ax
        mov ss, ax
        mov fs, ax
        mov gs, ax
        mov eax, cr0
        and al, 0xFE
        mov cr0, eax
        mov bx, 6
        jmp 0:real
real:   xor ax, ax
        mov ds, ax
        mov es, ax
        mov ss, ax
        mov fs, ax
        mov gs, ax
        sti
        mov ax, 0x6000
        mov es, ax
        mov di, 4
        stosw
        cli
        pop cx
        dec cx
        jnz again
        jmp finish
"""
    + GDT_SOURCE
    + END
)

UNREAL = (
    PROLOGUE
    + """
        cli
        lgdt [gdtr]
        mov eax, cr0
        or al, 1
        mov cr0, eax
        jmp short $ + 2
        mov bx, 0x10
        mov es, bx
        mov fs, bx
        and al, 0xFE
        mov cr0, eax
        mov bx, 0
        mov es, bx
        mov fs, bx
        ; big real mode: reach above 1 MiB with ES and FS
        mov edi, 0x120000
        mov ecx, 20
        mov eax, 0xA5A5A5A5
        cld
        a32 rep stosd
        mov eax, [fs:dword 0x120004]
        mov edx, 10
.loop:  mov [fs:edi], dl
        inc edi
        dec edx
        jnz .loop
        pushf
        pop ax
        smsw ax
        mov ax, 0x21
        mov di, service
        call set_vector
        int 0x21
        in al, 0x21
        call 0:farther
        mov ax, 0x3000
        mov es, ax
        mov [es:0], ax
        jmp finish
farther: retf
service: iret
"""
    + HANDLERS
    + GDT_SOURCE
    + END
)
"""Limits of 4 GiB left over from protected mode."""

VIRTUAL_8086 = (
    PROLOGUE
    + """
        lgdt [gdtr]
        mov eax, cr0
        or al, 1
        mov cr0, eax
        jmp 0x08:protected
bits 32
protected:
        mov ax, 0x10
        mov ds, ax
        mov es, ax
        mov ss, ax
        mov esp, 0x9000
        mov edi, 0x10000        ; every vector to its own stub of 8 bytes
        mov ecx, 64
        mov eax, stubs
.gate:  mov edx, eax
        mov [edi], dx
        mov word [edi + 2], 0x08
        mov word [edi + 4], 0xEE00
        shr edx, 16
        mov [edi + 6], dx
        add eax, 8
        add edi, 8
        dec ecx
        jnz .gate
        lidt [idtr]
        mov dword [tss + 4], 0x9000
        mov dword [tss + 8], 0x10
        mov word [tss + 0x66], 0x68
        mov eax, tss
        mov [gdt + 0x2A], ax
        shr eax, 16
        mov [gdt + 0x2C], al
        mov ax, 0x28
        ltr ax
        mov byte [tss + 0x68 + 0x21 / 8], 0xFF  ; port 21h is refused, E9h is not
        push dword 0            ; gs
        push dword 0x40         ; fs
        push dword 0x1000       ; ds
        push dword 0x2000       ; es
        push dword 0x0000       ; ss
        push dword 0x7000       ; esp
        push dword 0x00020202   ; VM, IF, IOPL 0
        push dword 0            ; cs
        push dword inside
        iretd
bits 16
inside: mov ax, 0x1234
        mov ds, ax
        mov [2], ax
        push ds
        pop fs
        mov bx, ds
        cli                     ; #GP: the monitor goes on behind it
        sti
        pushf
        popf
        int 0x30                ; two bytes
        call 0:.far
        mov dx, 0xE9
        mov al, 'v'
        out dx, al
        in al, 0x21             ; two bytes, refused by the map
        int3                    ; not sensitive to IOPL; the monitor answers with IOPL 3
        pushf
        pop ax
        cli
        pushfd
        pop ebx
        sti
        popf
        int 0x32
        hlt                     ; still privileged
        int 0x33                ; and to the end
.far:   retf
bits 32
align 8
stubs:
%assign number 0
%rep 64
        push byte number
        jmp near handler
        align 8
%assign number number + 1
%endrep
handler:                        ; a monitor for one program
        push eax
        mov eax, [esp + 4]
        cmp eax, 13
        je .gp
        cmp eax, 3
        je .raise
        cmp eax, 0x33
        je .end
        inc dword [0x500 + eax * 4]
        pop eax
        add esp, 4
        iretd
.raise: or dword [esp + 16], 0x3000
        pop eax
        add esp, 4
        iretd
.end:   cli
        hlt
.gp:    mov eax, [esp + 8]
        mov [0x600], eax        ; the error code
        mov eax, [esp + 20]
        mov [0x604], eax        ; the flags of the frame
        inc dword [0x608]
        push ebx
        movzx ebx, word [esp + 16]
        mov bl, [ebx]
        cmp bl, 0xCD
        je .two
        cmp bl, 0xE4
        je .two
        jmp .one
.two:   inc dword [esp + 16]
.one:   inc dword [esp + 16]
        pop ebx
        pop eax
        add esp, 8
        iretd
align 8
gdt:    dq 0
        dq 0x00CF9A000000FFFF
        dq 0x00CF92000000FFFF
        dq 0, 0
        dw 0x0FFF, 0
        db 0, 0x89, 0, 0
gdtr:   dw gdtr - gdt - 1
        dd gdt
idtr:   dw 64 * 8 - 1
        dd 0x10000
tss equ 0x11000
finish:
"""
)
"""A guest whose own programs run in virtual-8086 mode."""

INTERRUPTED = (
    PROLOGUE
    + """
        mov ax, 8
        mov di, timer
        call set_vector
        mov al, 0x11            ; 8259A: edge, cascade, ICW4; vectors from 08h
        out 0x20, al
        mov al, 0x08
        out 0x21, al
        mov al, 0x04
        out 0x21, al
        mov al, 0x01
        out 0x21, al
        mov al, 0xFE
        out 0x21, al
        mov al, 0x34            ; 8254: counter 0, mode 2
        out 0x43, al
        mov al, 90
        out 0x40, al
        xor al, al
        out 0x40, al
        sti
wait3:  mov bx, [0x600]
        add dx, bx
        push ds
        pop ds
        cmp word [0x600], 3
        jb wait3
        pushf
        cli
        mov cx, 150
.busy:  dec cx
        jnz .busy
        popf                    ; the one that waited comes here
        mov ax, [0x600]
        cli
        mov cx, 150
.again: dec cx
        jnz .again
        sti
        nop                     ; and here
        hlt
        hlt
        mov ax, [0x600]
        lgdt [gdtr]             ; interrupts while big segments are left over
        cli
        mov eax, cr0
        or al, 1
        mov cr0, eax
        mov bx, 0x10
        mov fs, bx
        and al, 0xFE
        mov cr0, eax
        mov bx, 0
        mov fs, bx
        sti
.big:   inc dword [fs:dword 0x120000]
        cmp word [0x600], 9
        jb .big
        jmp finish
timer:  push ax
        push bp
        mov bp, sp
        mov ax, [bp + 8]        ; the flags of the frame
        mov [0x604], ax
        inc word [0x600]
        mov al, 0x20
        out 0x20, al
        pop bp
        pop ax
        iret
"""
    + HANDLERS
    + GDT_SOURCE
    + END
)
"""The timer interrupts real-mode code, awake, asleep, and where it cannot run in virtual-8086 mode."""
