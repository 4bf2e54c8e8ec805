; balloon: memory that a guest gives back.
;
; A host can run out of memory when its guests together believe to have more than there
; is. It could take pages from them by force, but it cannot know which they would miss
; least. A guest knows. So the host asks: there is a driver in the guest that takes pages
; from the guest's own allocator, as if it needed them, and tells the host their numbers.
; That is the balloon: where it is, there is nothing, and the host has the memory.
;
; This kernel reads blocks of a slow device, over and over, and keeps as many as it has
; pages for. When the driver asks its allocator for a page:
;   1. a free page is given, if there is one;
;   2. else the block that was used longest ago is dropped: it can be read again.
; When the balloon shrinks, pages come out of it, full of zeros, and are free again.
;
; The sums on the console do not depend on the balloon: a page that were lost or mixed up
; would show there. Without a balloon (on a bare PC, say) the driver finds none and rests.

bits 32
BASE            equ 0x100000        ; 1 MiB: the first address above video memory and firmware
org BASE
%define ADDR(label) (label - $$ + BASE) ; a label as a plain number that can be cut into pieces

MULTIBOOT_MAGIC equ 0x1BADB002
MULTIBOOT_FLAGS equ 1 << 16         ; "the address fields below are valid"

KERNEL_CODE     equ 0x08            ; selectors: index in the GDT * 8 + the ring that asks
KERNEL_DATA     equ 0x10
INTERRUPT_GATE  equ 0x8E            ; present, for ring 0, 32 bits, clears IF on entry
EXCEPTIONS      equ 0x20            ; vectors of the CPU's own exceptions

COM1            equ 0x3F8           ; first serial port
COM1_LINE_STAT  equ COM1 + 5
STAT_ROOM       equ 0x20            ; line status: the transmitter can take a byte
EXIT_PORT       equ 0xF4            ; value v ends the run with exit code (v << 1) | 1
EXIT_PANIC      equ 0x7F

BALLOON_SIGN    equ 0x5F0           ; reads "BALN" where there is a balloon
BALLOON_TARGET  equ 0x5F4           ; reads how many pages the host wants in it
BALLOON_RESULT  equ 0x5FC           ; reads 0 if what was last written was done
BALLOON_IN      equ 0x600           ; write the address of a list of pages: they go in
BALLOON_OUT     equ 0x604           ; the same: they come out
SIGNATURE       equ 'BALN'

PAGE            equ 4096
PAGE_SHIFT      equ 12
POOL            equ 0x200000        ; the allocator's memory: from 2 MiB on
POOL_PAGES      equ 320
BLOCKS          equ 288             ; of the device; all of them fit, if nobody wants memory
NONE            equ -1

REQUESTS        equ 12000           ; blocks asked for, in all
TOLD            equ 2000            ; of so many requests one is told
POLL            equ 8               ; requests between two looks at the balloon: a power of 2
MOST_A_LOOK     equ 64              ; pages that go in or come out at one look
SLOWNESS        equ 1500            ; turns of an empty loop while the device "seeks"
STRIDE          equ 64              ; of a block every so many bytes are summed up

%include "../common/multiboot.asm"

; ---- Kernel code (ring 0) -----------------------------------------------------------
start:
    mov esp, kernel_stack_top       ; the loader promises no stack
    cld                             ; LODSB and STOSD are to walk upwards
    lgdt [gdt_pointer]
    jmp KERNEL_CODE:.reload         ; CS changes only by a far transfer
.reload:
    mov ax, KERNEL_DATA
    mov ds, ax
    mov es, ax
    mov ss, ax
    lidt [idt_pointer]
    call set_up_pages
    call find_balloon
    mov esi, text_welcome
    call print

.marker_working:
    xor ebp, ebp                    ; requests so far
.request:
    test ebp, POLL - 1
    jnz .serve
    call look_at_balloon
.serve:
    ; Which block? Chance, the same on every machine: x = x * 1103515245 + 12345.
    mov eax, [chance]
    imul eax, 1103515245
    add eax, 12345
    mov [chance], eax
    shr eax, 8
    xor edx, edx
    mov ecx, BLOCKS
    div ecx                         ; EDX: the block
    mov ebx, edx
    call find_block                 ; EDI: where its page is
    call sum_up
    inc ebp
    mov eax, ebp
    xor edx, edx
    mov ecx, TOLD
    div ecx
    test edx, edx
    jnz .next
    call report
.next:
    cmp ebp, REQUESTS
    jb .request

    mov esi, text_done
    call print
.marker_told:
    xor al, al
    out EXIT_PORT, al
    jmp halt

; Any exception that this kernel did not plan for, and any page that holds something else.
panic:
    mov esi, text_panic
    call print
    mov al, EXIT_PANIC
    out EXIT_PORT, al
halt:                               ; only reached where there is no exit port
    cli
    hlt
    jmp halt

; ---- The cache: blocks of the device that lie in memory ------------------------------

; Block EBX: give the address of its page in EDI, reading it first if it is not there.
; Changes EAX, ECX, EDX and ESI.
find_block:
    mov [used_at + ebx * 4], ebp    ; it is the one used last
    mov edi, [page_of + ebx * 4]
    cmp edi, NONE
    jne .here
.marker_miss:
    call allocate                   ; EAX: a page; there is always one: a block's, if no other
    mov [page_of + ebx * 4], eax
    inc dword [misses]
    mov ecx, SLOWNESS               ; the device takes its time
.seek:
    dec ecx
    jnz .seek
    mov edi, eax
    shl edi, PAGE_SHIFT
    push edi
    mov eax, ebx                    ; what is on the device: rows of numbers, each block its own
    imul eax, 0x9E3779B9
    mov ecx, PAGE / 4
.read:
    stosd
    add eax, 0x01000193
    dec ecx
    jnz .read
    pop edi
    ret
.here:
    shl edi, PAGE_SHIFT
    ret

; Add the block at EDI to the sum, and see that it is block EBX. Changes EAX, ECX and EDX.
sum_up:
    mov eax, ebx
    imul eax, 0x9E3779B9
    mov edx, [sum]
    mov ecx, PAGE / STRIDE
.word:
    cmp [edi], eax
    jne panic
    rol edx, 3
    add edx, [edi]
    add eax, 0x01000193 * (STRIDE / 4)
    add edi, STRIDE
    dec ecx
    jnz .word
    mov [sum], edx
    ret

; ---- The allocator --------------------------------------------------------------------

; Put all pages of the pool on the stack of free ones. Changes EAX and ECX.
set_up_pages:
    mov eax, (POOL >> PAGE_SHIFT) + POOL_PAGES - 1
    xor ecx, ecx
.free:
    mov [free_pages + ecx * 4], eax
    dec eax
    inc ecx
    cmp ecx, POOL_PAGES
    jb .free
    mov [free_count], ecx
    mov ecx, BLOCKS
.none:
    mov dword [page_of + ecx * 4 - 4], NONE
    dec ecx
    jnz .none
    ret

; Give the number of a page in EAX: a free one, or that of the block used longest ago.
; NONE if there is neither. Changes ECX, EDX and ESI.
allocate:
    mov ecx, [free_count]
    jecxz .drop_block
    dec ecx
    mov [free_count], ecx
    mov eax, [free_pages + ecx * 4]
    ret
.drop_block:
    mov edx, NONE                   ; the oldest so far: unsigned, so this is the newest of all
    mov esi, NONE                   ; and its block
    xor ecx, ecx
.look:
    cmp dword [page_of + ecx * 4], NONE
    je .not_this
    cmp [used_at + ecx * 4], edx
    jae .not_this
    mov edx, [used_at + ecx * 4]
    mov esi, ecx
.not_this:
    inc ecx
    cmp ecx, BLOCKS
    jb .look
    mov eax, NONE
    cmp esi, NONE
    je .nothing
    xchg eax, [page_of + esi * 4]   ; its page, and it is not in memory any more
.nothing:
    ret

; Page EAX is free. Changes ECX.
free:
    mov ecx, [free_count]
    mov [free_pages + ecx * 4], eax
    inc dword [free_count]
    ret

; ---- The balloon driver ----------------------------------------------------------------

; See whether there is a balloon. Changes EAX and EDX.
find_balloon:
    mov edx, BALLOON_SIGN
    in eax, dx
    cmp eax, SIGNATURE
    sete [has_balloon]
    ret

; Bring the balloon some pages nearer to its target. All of them go over in one list: each
; access to a port leaves the guest, and that is dear. Changes EAX, EBX, ECX, EDX, ESI and EDI.
look_at_balloon:
    cmp byte [has_balloon], 0
    je .done
    mov edx, BALLOON_TARGET
.marker_asked:
    in eax, dx
    mov ebx, [in_balloon]
    cmp ebx, eax
    je .done
    ja .deflate

    ; More: pages taken from the allocator, as by anyone who needs memory.
    mov edi, eax                    ; the target
    mov dword [list], 0
.take:
    cmp dword [list], MOST_A_LOOK
    jae .inflate
    cmp ebx, edi
    jae .inflate
    cmp ebx, POOL_PAGES - 1         ; the cache needs a page to work with
    jae .inflate
    call allocate
    cmp eax, NONE
    je .inflate
    mov [balloon_pages + ebx * 4], eax
    inc ebx
    call put_on_list
    jmp .take
.inflate:
    cmp dword [list], 0
    je .done
    mov [in_balloon], ebx
    mov eax, list
    mov edx, BALLOON_IN
.marker_inflate:
    out dx, eax
    call check_result
    cmp byte [has_looked], 0
    jne .done
    mov byte [has_looked], 1        ; once: what is there now? It is no crime to look, only of no use
    mov edi, [list + 4]
    shl edi, PAGE_SHIFT
.marker_touch:
    cmp dword [edi], 0
    jne panic
    ret

    ; Fewer: those that went in last come out first. They hold nothing but zeros, and are free.
.deflate:
    mov edi, eax                    ; the target
    mov dword [list], 0
.give:
    cmp dword [list], MOST_A_LOOK
    jae .out
    cmp ebx, edi
    jbe .out
    dec ebx
    mov eax, [balloon_pages + ebx * 4]
    call put_on_list
    jmp .give
.out:
    mov [in_balloon], ebx
    mov eax, list
    mov edx, BALLOON_OUT
.marker_deflate:
    out dx, eax
    call check_result
    mov ebx, [list]
.free:
    mov eax, [list + ebx * 4]
    mov edi, eax
    shl edi, PAGE_SHIFT
    cmp dword [edi], 0
    jne panic
    cmp dword [edi + PAGE - 4], 0
    jne panic
    call free
    dec ebx
    jnz .free
.done:
    ret

; Page EAX goes on the list for the VMM. Changes ECX.
put_on_list:
    mov ecx, [list]
    inc ecx
    mov [list + ecx * 4], eax
    mov [list], ecx
    ret

; Panic if the VMM has refused a page. Changes EAX and EDX.
check_result:
    mov edx, BALLOON_RESULT
    in eax, dx
    test eax, eax
    jnz panic
    ret

; ---- The console -------------------------------------------------------------------------

; Tell the sum. Changes EAX, ECX, EDX and ESI.
report:
    mov esi, text_sum
    call print
    mov edx, [sum]
    mov ecx, 8
.digit:
    rol edx, 4
    mov al, dl
    and al, 0x0F
    add al, '0'
    cmp al, '9'
    jbe .put
    add al, 'A' - '0' - 10
.put:
    call putc
    dec ecx
    jnz .digit
    mov al, 10
    jmp putc

%include "../common/print.asm"
%include "../common/putc.asm"

; ---- Data: never on a page with code ------------------------------------------------
align 4096, db 0
chance:         dd 2002
sum:            dd 0
misses:         dd 0                ; blocks that had to be read
free_count:     dd 0
in_balloon:     dd 0
has_balloon:    db 0
has_looked:     db 0

text_welcome:
    db "I read 288 blocks, over and over, and keep those I have memory for. Their sum:", 10, 0
text_sum:
    db "  ", 0
text_done:
    db "Every block was what it should be.", 10, 0
text_panic:
    db "PANIC: a page holds something else, or an exception.", 10, 0

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
; only watch whole pages. The Accessed bit (bit 0 of the type) is already set: the CPU
; would otherwise write it here on the first load of a segment.
align 4096, db 0
gdt:
    dq 0                            ; selector 0 is never valid
    dq 0x00CF9B000000FFFF           ; 0x08 ring 0 code: base 0, 4 GiB, execute/read
    dq 0x00CF93000000FFFF           ; 0x10 ring 0 data: base 0, 4 GiB, read/write
gdt_end:

; ---- Interrupt descriptor table -----------------------------------------------------
%macro gate 1                       ; handler
    dw ADDR(%1) & 0xFFFF            ; offset 15:0
    dw KERNEL_CODE                  ; handlers run in ring 0
    db 0, INTERRUPT_GATE
    dw ADDR(%1) >> 16               ; offset 31:16
%endmacro

align 4096, db 0
idt:
%rep EXCEPTIONS
    gate panic
%endrep
idt_end:
image_end:

; ---- Memory that needs no place in the file -----------------------------------------
absolute ADDR(image_end)
alignb 4096
page_of:        resd BLOCKS         ; by block: the number of its page, or NONE
used_at:        resd BLOCKS         ; by block: the request that asked for it last
free_pages:     resd POOL_PAGES     ; a stack
balloon_pages:  resd POOL_PAGES     ; another: what is in the balloon
list:           resd MOST_A_LOOK + 1 ; for the VMM: how many, and their numbers
alignb 4096
    resb 4096
kernel_stack_top:
memory_end:

