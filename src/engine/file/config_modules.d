src/engine/file/config_modules.o: src/engine/file/config_modules.c \
 src/engine/file/config_parts.h src/engine/file/json.h \
 src/engine/file/plm_file.h src/engine/file/../num/plm_num.h \
 src/engine/file/../num/../base/plm_base.h
src/engine/file/config_parts.h:
src/engine/file/json.h:
src/engine/file/plm_file.h:
src/engine/file/../num/plm_num.h:
src/engine/file/../num/../base/plm_base.h:
