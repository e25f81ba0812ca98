src/engine/file/config.o: src/engine/file/config.c \
 src/engine/file/config_parts.h src/engine/file/json.h \
 src/engine/file/plm_file.h src/engine/file/../num/plm_num.h \
 src/engine/file/../num/../base/plm_base.h
src/engine/file/config_parts.h:
src/engine/file/json.h:
src/engine/file/plm_file.h:
src/engine/file/../num/plm_num.h:
src/engine/file/../num/../base/plm_base.h:
