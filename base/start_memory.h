// What a program needed for its start and not after it: code that ran once, constants that it read, heap that
// it has freed. All of that stays in its resident memory unless it is given back.
#pragma once

namespace weft {

// Once, when the start is over. Any thread; others may go on meanwhile. Gives freed heap back to the system,
// and takes pages of the program and its libraries out of the process that it can read from the file again:
// those that it still uses come back from the page cache, each group with a fault of about a microsecond.
// Mappings of which a page was changed (by a debugger, or by a uprobe) are left as they are.
void give_back_start_memory();

}  // namespace weft
