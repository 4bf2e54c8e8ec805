; The six callbacks that Unicorn calls while a guest runs, in the machine code of the host (x86-64, System V ABI).
; native_hooks.py holds the assembled bytes; a test assembles this file again and compares.
;
; They exist because a Python callback on every block would cost a hundred times the guest's own speed. They do just
; what a counter at the block's door can do: add its instructions, or refuse entry and ask the emulator to stop.

bits 64

; The shared context, in 8-byte slots; native_hooks.py names the same slots
%define RETIRED   8*0   ; guest instructions completed, if every block entered has run to its end
%define LIMIT     8*1   ; no block is entered that would bring RETIRED beyond this
%define LAST_PC   8*2   ; the block entered last
%define LAST_LEN  8*3
%define REP_PC    8*4   ; address of the string instruction that ends that block, or -1
%define MULT      8*5   ; hash multiplier
%define TABLE     8*6   ; 65536 rows: key, instructions, address of a final REP instruction or -1, and a last field:
                        ; bit 0: may be a replay, bits 63:8: hundredths of a cycle
%define STOPFN    8*7   ; uc_emu_stop
%define REASON    8*8   ; why a callback asked for a stop
%define ADDRESS   8*9   ; where, or the exception number
%define LENGTH    8*10
%define SKIP      8*11  ; the address at which the next stop point is passed once
%define PATIENCE  8*12  ; repetitions of string instructions left before giving way
%define LOG       8*13  ; rows of 4 slots: LAST_PC, LAST_LEN, address of the replay
%define LOGGED    8*14
%define LOGMAX    8*15
%define ENTERING  8*16  ; the host enters the guest: 2 until its stub begins, which is no guest code, 1 while that runs, then 0
%define TALLY     8*17  ; two counters of 32 bits for what translated code does on the quiet
%define CACHE     8*18  ; linear address and size of the code cache of a binary translator
%define CACHELEN  8*19
%define PRIVATE   8*20  ; physical address and size of the memory that only some translated instructions may reach
%define PRIVLEN   8*21
%define ALLOWED   8*22  ; a byte for each byte of the code cache: may the instruction that starts there do so?
%define RAM       8*23  ; where the host keeps physical address 0
%define OLD       8*24  ; what was in memory before a store that was refused
%define KIND      8*25  ; kind of access that was refused, Unicorn's number
%define REGREAD   8*26  ; uc_reg_read
%define WAITING   8*27  ; an interrupt waits for the guest to let it in
%define QUOTA     8*28  ; guest instructions that may still begin, where `step` is called on each
%define AGAIN     8*29  ; the block just entered begins with an instruction that has begun before
%define BEGINS    8*30  ; a byte for each byte of the code cache: does one of the guest's instructions begin there?
%define WORK      8*31  ; hundredths of a cycle of the instructions counted

block:                              ; rdi engine, rsi address, edx length in bytes, rcx context
    mov edx, edx
    cmp qword [rcx+ENTERING], 0
    jne .entering
.guest:
    mov r8, rdx                     ; key = length << 48 ^ address
    shl r8, 48
    xor r8, rsi
    mov rax, r8
    imul rax, [rcx+MULT]
    shr rax, 48
.probe:                             ; open addressing: the next row until the key or an empty row
    mov r9, rax
    shl r9, 5
    add r9, [rcx+TABLE]
    cmp [r9], r8
    je .known
    cmp qword [r9], 0
    je .unknown
    inc eax
    and eax, 0xFFFF
    jmp .probe
.known:
    mov rax, r9
    cmp rsi, [rcx+REP_PC]
    jne .other
    cmp rsi, [rax+16]               ; every repetition enters the block again: one instruction all the same,
    je .again
    jmp .replay                     ; but if it has written over itself, another one stands in its place by now
.other:
    test byte [rax+24], 1
    jz .onward
    mov r9, rsi                     ; a one-instruction block inside the last block: the emulator threw that block
    sub r9, [rcx+LAST_PC]           ; away because it wrote over itself, and replays the writing instruction alone
    cmp r9, [rcx+LAST_LEN]
    jae .onward
    test r9, r9
    jnz .replay
    cmp rdx, [rcx+LAST_LEN]         ; the very same block: a loop of one instruction (CALL $). Where it is a replay,
    je .onward                      ; the block has been translated anew, and `Cpu` has corrected the count already
.replay:
    mov r9, [rcx+LOGGED]
    cmp r9, [rcx+LOGMAX]
    jae .full
    mov r10, r9
    shl r10, 5
    add r10, [rcx+LOG]
    mov r11, [rcx+LAST_PC]
    mov [r10], r11
    mov r11, [rcx+LAST_LEN]
    mov [r10+8], r11
    mov [r10+16], rsi
    inc r9
    mov [rcx+LOGGED], r9
    mov qword [rcx+AGAIN], 1
    jmp .count
.onward:
    cmp qword [rcx+LAST_LEN], 0     ; not the block that the run began with: the instruction to be passed has been
    je .count
    mov qword [rcx+SKIP], -1
.count:
    movzx r9d, word [rax+8]         ; guest instructions that begin in this block
    add r9, [rcx+RETIRED]
    cmp r9, [rcx+LIMIT]
    ja .limit
    mov [rcx+RETIRED], r9
    mov r9, [rax+8]
    shr r9, 16
    jz .work                        ; the guest's own code does nothing on the quiet
    add [rcx+TALLY], r9
.work:
    mov r9, [rax+24]
    shr r9, 8
    add [rcx+WORK], r9
.go:
    mov [rcx+LAST_PC], rsi
    mov [rcx+LAST_LEN], rdx
    mov r9, [rax+16]
    mov [rcx+REP_PC], r9
    ret
.again:
    mov qword [rcx+AGAIN], 1
    dec qword [rcx+PATIENCE]
    jns .go
    mov r9d, 6
    jmp .stop
.entering:
    dec qword [rcx+ENTERING]
    jz .guest
    ret
.limit:
    mov r9d, 1
    jmp .stop
.unknown:
    mov r9d, 2
    jmp .stop
.full:
    mov r9d, 3
.stop:
    mov [rcx+REASON], r9
    mov [rcx+ADDRESS], rsi
    mov [rcx+LENGTH], rdx
    jmp [rcx+STOPFN]
    align 16, db 0x90

code:                               ; rdi engine, rsi address, edx length, rcx context
    cmp rsi, [rcx+SKIP]
    jne .point                      ; SKIP stays: several stop points may lie on one address
.pass:
    ret
.point:
    cmp qword [rcx+ENTERING], 0     ; the host's stub, at an address that is the guest's too
    jne .pass
    mov qword [rcx+REASON], 4
    mov [rcx+ADDRESS], rsi
    jmp [rcx+STOPFN]
    align 16, db 0x90

interrupt:                          ; rdi engine, esi number, rdx context
    mov esi, esi
    mov qword [rdx+REASON], 5
    mov [rdx+ADDRESS], rsi
    jmp [rdx+STOPFN]
    align 16, db 0x90

memory:                             ; rdi engine, esi kind, rdx physical address, ecx size, r8 value, r9 context
    mov rax, rdx
    sub rax, [r9+PRIVATE]
    cmp rax, [r9+PRIVLEN]
    jae .stop                       ; the code cache itself: nobody reads it as data
    mov rax, [r9+LAST_PC]
    sub rax, [r9+CACHE]
    cmp rax, [r9+CACHELEN]
    jae .stop                       ; the guest's own code
    sub rsp, 56
    mov [rsp+8], rdi
    mov [rsp+16], rsi
    mov [rsp+24], rdx
    mov [rsp+32], rcx
    mov [rsp+40], r9
    mov qword [rsp], 0
    mov esi, 26                     ; UC_X86_REG_EIP; the code segment of translated code begins at 0
    mov rdx, rsp
    call [r9+REGREAD]
    mov rax, [rsp]
    mov rdi, [rsp+8]
    mov rsi, [rsp+16]
    mov rdx, [rsp+24]
    mov rcx, [rsp+32]
    mov r9, [rsp+40]
    add rsp, 56
    sub rax, [r9+CACHE]
    cmp rax, [r9+CACHELEN]
    jae .stop
    add rax, [r9+ALLOWED]
    cmp byte [rax], 0
    je .stop
    ret
.stop:
    mov rax, [r9+RAM]
    mov rax, [rax+rdx]              ; a store is carried out all the same: what it covers must be put back
    mov [r9+OLD], rax
    mov [r9+KIND], rsi
    mov qword [r9+REASON], 7
    mov [r9+ADDRESS], rdx
    mov [r9+LENGTH], rcx
    jmp [r9+STOPFN]
    align 16, db 0x90

gate:                               ; like `code`, for instructions that matter only while an interrupt waits
    cmp qword [rcx+WAITING], 0
    jne code
    ret
    align 16, db 0x90

step:                               ; like `code`, on every instruction: stops before one that is beyond the quota
    cmp qword [rcx+AGAIN], 0
    jne .again
    mov rax, rsi
    sub rax, [rcx+CACHE]
    cmp rax, [rcx+CACHELEN]
    jae .begins
    add rax, [rcx+BEGINS]
    cmp byte [rax], 0
    je .pass
.begins:
    dec qword [rcx+QUOTA]
    js .stop
.pass:
    ret
.again:
    mov qword [rcx+AGAIN], 0
    ret
.stop:
    mov qword [rcx+REASON], 8
    mov [rcx+ADDRESS], rsi
    jmp [rcx+STOPFN]
