/*
 * test_packed.c -- the packed cache file: what is written is read, what is damaged is refused.
 */
#include "failing_hook.h"
#include "unit.h"

#include "../../src/engine/file/packed_layout.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static PlmArena arena;
static PlmError err;
static char scratch[] = "/tmp/plm-test-packed-XXXXXX";
static char temporary[64];
static char final[64];
static const unsigned char key[PLM_KEY_BYTES] = "0123456789abcdef0123456789abcde";

static void
declare(PlmSection *section, const char *name, size_t bytes)
{
	memset(section, 0, sizeof(*section));
	snprintf(section->name, sizeof(section->name), "%s", name);
	section->rows = 1;
	section->cols = (int64_t) bytes;
	section->bytes = bytes;
}

/* Four sections of awkward sizes, byte i of section s being s + i. */
static const size_t sizes[] = {1, 64, 0, 1000};
static const char *const names[] = {"tok_embd", "blk.0.attn_q.w", "nothing", "config"};

static PlmStatus
write_sample(PlmPackedWriter **kept)
{
	PlmSection	sections[4];
	PlmPackedWriter *writer;

	for (int s = 0; s < 4; s++)
		declare(&sections[s], names[s], sizes[s]);
	PLM_TRY(plm_packed_create(temporary, key, sections, 4, &arena, &writer, &err));
	for (int s = 0; s < 4; s++)
		for (size_t i = 0; i < sizes[s]; i++)
			((unsigned char *) plm_packed_data(writer, s))[i] = (unsigned char) ((size_t) s + i);
	if (kept != NULL)
	{
		*kept = writer;
		return PLM_OK;
	}
	return plm_packed_finish(writer, final, &err);
}

static bool
exists(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0;
}

static void
test_round_trip(void)
{
	PlmPackedFile file;
	struct stat st;
	bool		same = true;
	bool		aligned = true;

	CHECK("a_file_is_written", write_sample(NULL) == PLM_OK && !exists(temporary), "%s", err.message);
	CHECK("only_its_owner_may_read_it", stat(final, &st) == 0 && (st.st_mode & 0777) == 0600, "%o", st.st_mode & 0777);
	CHECK("it_opens", plm_packed_open(final, key, &file, &err) == PLM_OK && file.n == 4, "%s", err.message);
	for (int s = 0; s < 4; s++)
	{
		const PlmSection *section = plm_packed_find(&file, names[s]);

		same = same && section == &file.sections[s] && section->bytes == sizes[s];
		aligned = aligned && (uintptr_t) (file.base + section->offset) % 64 == 0;
		for (size_t i = 0; i < sizes[s]; i++)
			same = same && file.base[section->offset + i] == (unsigned char) ((size_t) s + i);
	}
	CHECK("every_section_reads_back", same, "a byte differs");
	CHECK("every_section_is_aligned", aligned, "not to 64 bytes");
	CHECK("an_unknown_section_is_null", plm_packed_find(&file, "nothing at all") == NULL, "found");
	plm_packed_close(&file);
	CHECK("closing_twice_is_harmless", (plm_packed_close(&file), file.base == NULL), "not closed");
}

static void
test_writer_refusals(void)
{
	PlmSection	sections[2];
	PlmPackedWriter *writer;
	PlmPackedFile file;

	declare(&sections[0], "same", 1);
	declare(&sections[1], "same", 1);
	CHECK("two_sections_of_one_name_are_refused", plm_packed_create(temporary, key, sections, 2, &arena, &writer, &err) == PLM_EINTERNAL &&
		  !exists(temporary), "%s", err.message);
	declare(&sections[1], "large", SIZE_MAX - 10);
	CHECK("sizes_that_overflow_are_refused", plm_packed_create(temporary, key, sections, 2, &arena, &writer, &err) == PLM_ELIMIT, "%s", err.message);
	CHECK("no_section_at_all_is_a_file", plm_packed_create(temporary, key, sections, 0, &arena, &writer, &err) == PLM_OK &&
		  plm_packed_finish(writer, final, &err) == PLM_OK && plm_packed_open(final, key, &file, &err) == PLM_OK && file.n == 0 &&
		  plm_packed_find(&file, "a") == NULL, "%s", err.message);
	plm_packed_close(&file);
	write_sample(&writer);
	CHECK("an_existing_file_is_not_overwritten", write_sample(NULL) == PLM_EIO && strstr(err.message, temporary) != NULL, "%s", err.message);
	plm_packed_abort(writer);
	CHECK("an_aborted_file_is_gone", !exists(temporary), "it is there");
	write_sample(&writer);
	CHECK("a_failed_rename_leaves_nothing", plm_packed_finish(writer, "/tmp/no such folder/at all", &err) == PLM_EIO && !exists(temporary),
		  "%s", err.message);
	CHECK("a_missing_file_is_not_found", plm_packed_open(temporary, key, &file, &err) == PLM_ENOTFOUND, "%s", err.message);
	CHECK("a_folder_is_no_packed_file", plm_packed_open(scratch, key, &file, &err) == PLM_ECORRUPT, "%s", err.message);
}

/* A limit on file sizes stands for a full disk: the same call fails, in the same place. */
static void
test_disk_full(void)
{
	struct rlimit old;
	struct rlimit low;
	PlmSection	section;
	PlmPackedWriter *writer;
	PlmStatus	status;

	declare(&section, "large", 1 << 20);
	getrlimit(RLIMIT_FSIZE, &old);
	low = (struct rlimit) {65536, old.rlim_max};
	signal(SIGXFSZ, SIG_IGN);
	setrlimit(RLIMIT_FSIZE, &low);
	status = plm_packed_create(temporary, key, &section, 1, &arena, &writer, &err);
	setrlimit(RLIMIT_FSIZE, &old);
	CHECK("a_full_disk_is_said_and_leaves_nothing", status == PLM_EDISKFULL && !exists(temporary), "%d %s", status, err.message);
}

/* Write these bytes as the final file and open it. */
static PlmStatus
open_bytes(const unsigned char *bytes, size_t n)
{
	PlmPackedFile file;
	PlmStatus	status;
	FILE	   *out;

	unlink(final);				/* a new file: some file systems flush one that is rewritten */
	out = fopen(final, "wb");
	if (out == NULL || fwrite(bytes, 1, n, out) != n || fclose(out) != 0)
		perror(final);
	status = plm_packed_open(final, key, &file, &err);
	plm_packed_close(&file);
	return status;
}

static void
test_damage(void)
{
	static unsigned char good[8192];
	static unsigned char bad[8192];
	unsigned char other[PLM_KEY_BYTES] = "another";
	PlmPackedFile file;
	FILE	   *in;
	size_t		n;
	long		unseen = -1;

	write_sample(NULL);
	in = fopen(final, "rb");
	n = fread(good, 1, sizeof(good), in);
	fclose(in);
	CHECK("another_key_is_refused", plm_packed_open(final, other, &file, &err) == PLM_ECORRUPT && strstr(err.message, "another model") != NULL,
		  "%s", err.message);
	for (size_t i = 0; i < n * 8 && unseen < 0; i++)
	{
		memcpy(bad, good, n);
		bad[i / 8] ^= (unsigned char) (1u << (i % 8));
		unseen = open_bytes(bad, n) == PLM_ECORRUPT ? -1 : (long) i;
	}
	CHECK("every_flipped_bit_is_seen", unseen < 0, "bit %ld of %zu bytes: %s", unseen, n, err.message);
	for (size_t i = 0; i < n && unseen < 0; i++)
		unseen = open_bytes(good, i) == PLM_ECORRUPT ? -1 : (long) i;
	CHECK("every_truncation_is_seen", unseen < 0, "at %ld of %zu bytes", unseen, n);
	memcpy(bad, good, n);
	memset(bad + n, 0, 64);
	CHECK("bytes_at_the_end_are_seen", open_bytes(bad, n + 64) == PLM_ECORRUPT, "accepted");
	CHECK("the_undamaged_file_still_opens", open_bytes(good, n) == PLM_OK, "%s", err.message);
}

/* Directories that lie, with checksums that fit. */
static void
test_lying_directories(void)
{
	static unsigned char good[8192];
	static unsigned char bad[8192];
	const size_t at = sizeof(PackedHeader);
	FILE	   *in;
	size_t		n;
	PackedHeader header;
	PlmStatus	status[7];

	write_sample(NULL);
	in = fopen(final, "rb");
	n = fread(good, 1, sizeof(good), in);
	fclose(in);
	for (int i = 0; i < 7; i++)
	{
		PlmSection	s;
		uint32_t	swap[2];

		memcpy(bad, good, n);
		memcpy(&header, bad, sizeof(header));
		memcpy(&s, bad + at, sizeof(s));
		if (i == 0)
			s.offset = UINT64_MAX - 63;
		else if (i == 1)
			s.bytes = UINT64_MAX;
		else if (i == 2)
			s.bytes = n;
		else if (i == 3)
			memset(s.name, 'a', sizeof(s.name));
		else if (i == 4)
			s.precision = 99;
		else if (i == 5)
			s.rows = -1;
		memcpy(bad + at, &s, sizeof(s));
		if (i == 6)
		{
			unsigned char *sorted = bad + at + 4 * sizeof(PlmSection);

			memcpy(swap, sorted, 8);
			memcpy(sorted, &swap[1], 4);
			memcpy(sorted + 4, &swap[0], 4);
		}
		header.checksum = packed_front_checksum(bad, header.n);
		memcpy(bad, &header, sizeof(header));
		status[i] = open_bytes(bad, n);
	}
	for (int i = 0; i < 7; i++)
		CHECK("a_directory_that_lies_is_refused", status[i] == PLM_ECORRUPT, "case %d: %d", i, status[i]);
	memcpy(bad, good, n);
	memcpy(&header, bad, sizeof(header));
	header.n = UINT64_MAX;
	memcpy(bad, &header, sizeof(header));
	CHECK("a_huge_count_is_refused", open_bytes(bad, n) == PLM_ECORRUPT, "accepted");
}

/* ---- allocation failures ---- */

static void
test_allocation_failures(void)
{
	const PlmHook hook = {failing_alloc, counted_release, NULL, NULL};
	PlmArena	kept = arena;
	PlmStatus	status;
	bool		sound = true;
	int			n = 0;

	do
	{
		plm_arena_init(&arena, &hook, 0);
		countdown = ++n;
		status = write_sample(NULL);
		plm_arena_free(&arena);
		sound = (status == PLM_OK || status == PLM_ENOMEM) && held == 0 && !exists(temporary);
	} while (sound && countdown == 0 && n < 1000);
	arena = kept;
	CHECK("each_failed_allocation_is_an_error_that_leaves_nothing", sound && status == PLM_OK, "allocation %d, status %d, %d held", n, status, held);
}

int
main(void)
{
	plm_arena_init(&arena, &plm_libc_hook, 0);
	if (mkdtemp(scratch) == NULL)
	{
		perror(scratch);
		return 1;
	}
	snprintf(temporary, sizeof(temporary), "%s/a.tmp", scratch);
	snprintf(final, sizeof(final), "%s/a.packed", scratch);
	test_round_trip();
	test_writer_refusals();
	test_disk_full();
	test_damage();
	test_lying_directories();
	test_allocation_failures();
	unlink(final);
	rmdir(scratch);
	plm_arena_free(&arena);
	return unit_done();
}
