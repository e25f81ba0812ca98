/*
 * fuzz_packed.c -- packed cache files: as they are, and with checksums made to fit, so that the
 * checks behind the checksums are reached.  Every section of an accepted file can be read.
 */
#include "../../src/engine/file/packed_layout.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int			LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const unsigned char key[PLM_KEY_BYTES] = "the key of the fuzz target's fil";

/* Open the bytes by way of a file in memory. */
static void
try_open(const uint8_t *data, size_t size)
{
	PlmPackedFile file;
	PlmError	err;
	char		path[64];
	int			fd = memfd_create("packed", MFD_CLOEXEC);
	volatile unsigned char sum = 0;

	if (fd < 0 || write(fd, data, size) != (ssize_t) size)
		abort();
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (plm_packed_open(path, key, &file, &err) == PLM_OK)
	{
		for (int64_t i = 0; i < file.n; i++)
		{
			const PlmSection *s = &file.sections[i];

			if (plm_packed_find(&file, s->name) != s)
				abort();
			if (s->bytes > 0)
				sum = sum + file.base[s->offset] + file.base[s->offset + s->bytes - 1];
		}
		plm_packed_find(&file, "no such section");
		plm_packed_close(&file);
	}
	close(fd);
}

/* Header fields and checksums as a writer would have made them for this directory. */
static void
repair(uint8_t *data, size_t size)
{
	PackedHeader header;

	if (size < sizeof(header))
		return;
	memcpy(&header, data, sizeof(header));
	memcpy(header.magic, PACKED_MAGIC, sizeof(header.magic));
	header.version = PACKED_VERSION;
	header.pack_version = PLM_PACK_VERSION;
	header.config_version = PLM_CONFIG_VERSION;
	header.order = UINT32_C(0x01020304);
	header.bytes = size;
	memcpy(header.key, key, sizeof(key));
	memcpy(data, &header, sizeof(header));
	if (header.n > PACKED_MAX_SECTIONS || packed_front(header.n) > size)
		return;
	for (uint64_t i = 0; i < header.n; i++)
	{
		PlmSection	s;
		uint8_t    *place = data + sizeof(header) + i * sizeof(s);

		memcpy(&s, place, sizeof(s));
		if (s.offset <= size && s.bytes <= size - s.offset && plm_align(s.bytes, PACKED_ALIGN) <= size - s.offset)
			s.checksum = plm_checksum(data + s.offset, plm_align(s.bytes, PACKED_ALIGN), 0);
		memcpy(place, &s, sizeof(s));
	}
	header.checksum = packed_front_checksum(data, header.n);
	memcpy(data, &header, sizeof(header));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t    *copy = malloc(size + 1);

	try_open(data, size);
	if (copy == NULL)
		return 0;
	memcpy(copy, data, size);
	repair(copy, size);
	try_open(copy, size);
	free(copy);
	return 0;
}
