/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/durability.h"

#include "base/assert.h"
#include "store/journal.h"

enum status
core_prepare_record(struct core *core, uint64_t text_octets)
{
    uint64_t octets = CORE_RECORD_FIXED + text_octets;
    if (!core_has_log(core)) {
        return STATUS_OK;
    }
    if (!journal_fits(core->journal, 0, octets)) {
        return STATUS_FULL;
    }
    buffer_clear(&core->record);
    return buffer_reserve(&core->record, octets) != NULL ? STATUS_OK : STATUS_NO_MEMORY;
}

struct buffer *
core_begin_record(struct core *core)
{
    buffer_clear(&core->record);
    return &core->record;
}

void
core_log_record(struct core *core)
{
    if (core_has_log(core)) {
        assert(!core->record.failed);
        journal_put(core->journal, buffer_bytes(&core->record));
    }
}

void
core_log_together(struct core *core, uint64_t record_octets)
{
    if (core_has_log(core) && journal_fits(core->journal, 0, record_octets)) {
        journal_reserve(core->journal, 0, record_octets);
    }
}
