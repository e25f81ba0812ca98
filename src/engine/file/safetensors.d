src/engine/file/safetensors.o: src/engine/file/safetensors.c \
 src/engine/file/json.h src/engine/file/plm_file.h \
 src/engine/file/../num/plm_num.h \
 src/engine/file/../num/../base/plm_base.h
src/engine/file/json.h:
src/engine/file/plm_file.h:
src/engine/file/../num/plm_num.h:
src/engine/file/../num/../base/plm_base.h:
