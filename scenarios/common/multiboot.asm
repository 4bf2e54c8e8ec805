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
